package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/clock"
)

// StackReader is the part of CloudFormation that tells about stacks. It changes nothing.
type StackReader interface {
	DescribeStacks(context.Context, *cloudformation.DescribeStacksInput, ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error)
	DescribeChangeSet(context.Context, *cloudformation.DescribeChangeSetInput, ...func(*cloudformation.Options)) (*cloudformation.DescribeChangeSetOutput, error)
	GetTemplate(context.Context, *cloudformation.GetTemplateInput, ...func(*cloudformation.Options)) (*cloudformation.GetTemplateOutput, error)
}

// noChanges are how CloudFormation begins the reason of a change set that failed because there is nothing to do.
var noChanges = []string{"The submitted information didn't contain changes", "No updates are to be performed"}

const (
	changeSetInterval = 3 * time.Second
	changeSetPatience = 10 * time.Minute
)

// ChangeSet names a change set of CloudFormation.
type ChangeSet struct{ Stack, Name string }

func (s ChangeSet) String() string { return fmt.Sprintf("change set %s of stack %s", s.Name, s.Stack) }

// OfChangeSet returns what CloudFormation itself says of a change set. The values come from the templates before and after, so the
// same change has the same hash as without an account. If the change set is gone, note says so.
func OfChangeSet(ctx context.Context, c clock.Clock, api StackReader, set ChangeSet) (changes []Resource, note string, err error) {
	old, _, err := deployedTemplate(ctx, api, set.Stack)
	if err != nil {
		return nil, "", err
	}
	listed, none, err := describe(ctx, c, api, set)
	// AWS's documentation does not say whether CodePipeline keeps a change set without changes. Without one nothing can be executed.
	if missing := new(types.ChangeSetNotFoundException); errors.As(err, &missing) && old != nil {
		return nil, fmt.Sprintf("%v: without it there is nothing to execute", err), nil
	}
	if err != nil || none || old == nil { // without an old template the change set creates the stack
		return nil, "", err
	}
	newer, err := template(ctx, api, &cloudformation.GetTemplateInput{StackName: &set.Stack, ChangeSetName: &set.Name})
	if err != nil {
		return nil, "", fmt.Errorf("read the template of %s: %w", set, err)
	}
	changes, err = ofChangeSet(Pair{Stack: set.Stack, Old: old, New: newer}, listed)
	return changes, "", err
}

// describe waits until the change set is complete, and returns all of it. The second result says that it has no changes.
func describe(ctx context.Context, c clock.Clock, api StackReader, set ChangeSet) ([]types.ResourceChange, bool, error) {
	fail := func(err error) ([]types.ResourceChange, bool, error) {
		return nil, false, fmt.Errorf("%s: %w", set, err)
	}
	in := &cloudformation.DescribeChangeSetInput{StackName: &set.Stack, ChangeSetName: &set.Name, IncludePropertyValues: aws.Bool(true)}
	var all []types.ResourceChange
	for deadline := c.Now().Add(changeSetPatience); ; {
		out, err := api.DescribeChangeSet(ctx, in)
		var missing *types.ChangeSetNotFoundException
		switch {
		case errors.As(err, &missing):
			return fail(fmt.Errorf("it does not exist (%w); `aws cloudformation list-change-sets --stack-name %s` lists those that do", err, set.Stack))
		case err != nil:
			return fail(fmt.Errorf("%w; the credentials or the role must be allowed to read the stack", err))
		}
		reason := aws.ToString(out.StatusReason)
		switch out.Status {
		case types.ChangeSetStatusCreateComplete:
		case types.ChangeSetStatusCreatePending, types.ChangeSetStatusCreateInProgress:
			if !c.Now().Before(deadline) {
				return fail(fmt.Errorf("it is still %s after %s; look at it in the console of CloudFormation, and run this again", out.Status, changeSetPatience))
			}
			if err := c.Wait(ctx, changeSetInterval); err != nil {
				return fail(err)
			}
			continue
		default:
			if out.Status == types.ChangeSetStatusFailed && slices.ContainsFunc(noChanges, func(s string) bool { return strings.HasPrefix(reason, s) }) {
				return nil, true, nil
			}
			return fail(fmt.Errorf("its status is %s, not %s: %s; mend that and create the change set again", out.Status, types.ChangeSetStatusCreateComplete, reason))
		}
		for _, change := range out.Changes {
			if change.ResourceChange != nil {
				all = append(all, *change.ResourceChange)
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return all, false, nil
		}
	}
}

// deployedTemplate returns the template and the termination protection of a stack, or nil if the stack does not exist yet.
func deployedTemplate(ctx context.Context, api StackReader, stack string) (assembly.Template, bool, error) {
	out, err := api.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
	var answer smithy.APIError
	switch {
	case errors.As(err, &answer) && answer.ErrorCode() == "ValidationError" && strings.Contains(answer.ErrorMessage(), "does not exist"):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("look for stack %s: %w", stack, err)
	case len(out.Stacks) != 1:
		return nil, false, fmt.Errorf("look for stack %s: CloudFormation answered %d stacks of that name", stack, len(out.Stacks))
	}
	if out.Stacks[0].StackStatus == types.StackStatusReviewInProgress { // there is a change set that would create it, and no template
		return nil, false, nil
	}
	deployed, err := template(ctx, api, &cloudformation.GetTemplateInput{StackName: &stack})
	if err != nil {
		return nil, false, fmt.Errorf("read the deployed template of stack %s: %w", stack, err)
	}
	return deployed, aws.ToBool(out.Stacks[0].EnableTerminationProtection), nil
}

func template(ctx context.Context, api StackReader, in *cloudformation.GetTemplateInput) (assembly.Template, error) {
	in.TemplateStage = types.TemplateStageOriginal
	out, err := api.GetTemplate(ctx, in)
	if err != nil {
		return nil, err
	}
	var t assembly.Template
	if err := json.Unmarshal([]byte(aws.ToString(out.TemplateBody)), &t); err != nil {
		return nil, fmt.Errorf("it is no JSON, so that the CDK has not deployed it: %w", err)
	}
	return t, nil
}

// ofChangeSet gives CloudFormation's own verdict the form of this package.
func ofChangeSet(p Pair, listed []types.ResourceChange) ([]Resource, error) {
	b, err := newBuilder(p)
	if err != nil {
		return nil, err
	}
	listed = slices.DeleteFunc(slices.Clone(listed), func(change types.ResourceChange) bool {
		_, known := b.old[aws.ToString(change.LogicalResourceId)]
		return !known // a new resource
	})
	for _, change := range listed {
		if change.Action != types.ChangeActionRemove { // else the new template does not have the resource
			b.updates[*change.LogicalResourceId] = updatesOf(change)
		}
	}
	for _, change := range listed {
		b.doubts[*change.LogicalResourceId] = b.doubt(*change.LogicalResourceId, change)
	}
	return b.changes(), nil
}

// updatesOf returns what a change set says of the properties of one resource. A property can have several details, for instance if
// both its text and the resource that it refers to change.
func updatesOf(change types.ResourceChange) map[string]alteration {
	updates := map[string]alteration{}
	for _, d := range change.Details {
		if d.Target == nil || d.Target.Attribute != types.ResourceAttributeProperties && d.Target.Attribute != types.ResourceAttributeTags {
			continue
		}
		name := aws.ToString(d.Target.Name)
		if d.Target.Attribute == types.ResourceAttributeTags {
			name = "Tags"
		}
		u := updates[name]
		u.requires = max(u.requires, map[types.RequiresRecreation]Recreation{
			types.RequiresRecreationAlways: Always, types.RequiresRecreationConditionally: Conditionally,
		}[d.Target.RequiresRecreation])
		switch dynamic := d.Evaluation == types.EvaluationTypeDynamic; d.ChangeSource {
		case types.ChangeSourceResourceReference:
			// The id of a resource changes only if the resource is replaced.
			u.causes = append(u.causes, aws.ToString(d.CausingEntity))
			u.known = u.known || !dynamic
		case types.ChangeSourceResourceAttribute:
			u.maybe = u.maybe || dynamic
		}
		if before, after := d.Target.BeforeValue, d.Target.AfterValue; before != nil && after != nil {
			u.old, u.new = decodeValue(*before), decodeValue(*after)
		}
		if len(u.causes) > 0 { // the reference says more, in whatever order the details are
			u.old, u.new = nil, nil
		}
		updates[name] = u
	}
	return updates
}

// decodeValue reads a value of a change set: JSON, or the text itself.
func decodeValue(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		return v
	}
	return text
}

// doubt says why a resource may be deleted or replaced although no property of it says so.
func (b builder) doubt(id string, change types.ResourceChange) Doubt {
	_, stays := b.new[id]
	switch {
	case change.Action == types.ChangeActionDynamic:
		return Undecided
	case change.Action == types.ChangeActionRemove && stays:
		return RemovedYet
	case change.Action == types.ChangeActionModify && change.Replacement == types.ReplacementTrue && len(b.replacing(id, map[string]bool{})) == 0:
		return Unexplained
	}
	return NoDoubt
}
