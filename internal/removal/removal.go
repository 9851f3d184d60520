// Package removal says what happens to data when its resource leaves the stack.
package removal

import "github.com/aws/aws-cdk-go/awscdk/v2"

// Policy keeps a resource that holds data if retain is true, unless its very creation failed: a failed first deploy
// leaves nothing behind.
func Policy(retain bool) awscdk.RemovalPolicy {
	if retain {
		return awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE
	}
	return awscdk.RemovalPolicy_DESTROY
}

// SnapshotPolicy is [Policy] for a database: what is kept is a final snapshot.
func SnapshotPolicy(retain bool) awscdk.RemovalPolicy {
	if retain {
		return awscdk.RemovalPolicy_SNAPSHOT
	}
	return awscdk.RemovalPolicy_DESTROY
}
