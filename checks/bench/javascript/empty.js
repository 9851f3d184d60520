// The smallest CDK application in JavaScript that `cdk synth` accepts: one stack without a resource.
'use strict';

const cdk = require('aws-cdk-lib');

const app = new cdk.App();
new cdk.Stack(app, 'Empty');
app.synth();
