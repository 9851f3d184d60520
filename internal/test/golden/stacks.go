package golden

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"flask-on-fargate/internal/assembly"
)

// Stacks is CloudFormation with deployed stacks, and recorded answers about one change set.
type Stacks struct {
	Deployed  map[string]assembly.Template
	Protected bool // the stacks against termination
	Review    bool // the stacks are only to be created
	ChangeSet assembly.Template
	Pages     []json.RawMessage
	Asked     []cloudformation.DescribeChangeSetInput
	Fault     error // of DescribeStacks
}

func (f *Stacks) DescribeStacks(_ context.Context, in *cloudformation.DescribeStacksInput, _ ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error) {
	if f.Fault != nil {
		return nil, f.Fault
	}
	status := types.StackStatusUpdateComplete
	if f.Review {
		status = types.StackStatusReviewInProgress
	} else if f.Deployed[*in.StackName] == nil {
		return nil, &smithy.GenericAPIError{Code: "ValidationError", Message: "Stack with id " + *in.StackName + " does not exist"}
	}
	return &cloudformation.DescribeStacksOutput{Stacks: []types.Stack{{
		StackName: in.StackName, StackStatus: status, EnableTerminationProtection: aws.Bool(f.Protected),
	}}}, nil
}

func (f *Stacks) GetTemplate(_ context.Context, in *cloudformation.GetTemplateInput, _ ...func(*cloudformation.Options)) (*cloudformation.GetTemplateOutput, error) {
	template := f.Deployed[*in.StackName]
	if in.ChangeSetName != nil {
		template = f.ChangeSet
	}
	if template == nil || f.Review {
		return nil, &smithy.GenericAPIError{Code: "ValidationError", Message: "there is no template"}
	}
	body, err := json.Marshal(template)
	return &cloudformation.GetTemplateOutput{TemplateBody: aws.String(string(body))}, err
}

func (f *Stacks) DescribeChangeSet(_ context.Context, in *cloudformation.DescribeChangeSetInput, _ ...func(*cloudformation.Options)) (*cloudformation.DescribeChangeSetOutput, error) {
	f.Asked = append(f.Asked, *in)
	if len(f.Pages) == 0 {
		return nil, &types.ChangeSetNotFoundException{Message: aws.String("ChangeSet [" + *in.ChangeSetName + "] does not exist")}
	}
	var out cloudformation.DescribeChangeSetOutput
	err := json.Unmarshal(f.Pages[0], &out)
	f.Pages = f.Pages[1:]
	return &out, err
}

func (f *Stacks) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Account: aws.String("111111111111"), Arn: aws.String("arn:aws:iam::111111111111:user/ada")}, nil
}

// Recorded returns the answers of DescribeChangeSet in a file of internal/change/testdata.
func Recorded(t *testing.T, name string) []json.RawMessage {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Root, "internal", "change", "testdata", "changesets", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []json.RawMessage
	if err := json.Unmarshal(data, &pages); err != nil {
		t.Fatal(err)
	}
	return pages
}
