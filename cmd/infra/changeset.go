package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"flask-on-fargate/internal/assembly"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
)

// stackReader is what the guard asks of CloudFormation. It changes nothing.
type stackReader interface {
	stackDescriber
	DescribeChangeSet(context.Context, *cloudformation.DescribeChangeSetInput, ...func(*cloudformation.Options)) (*cloudformation.DescribeChangeSetOutput, error)
	GetTemplate(context.Context, *cloudformation.GetTemplateInput, ...func(*cloudformation.Options)) (*cloudformation.GetTemplateOutput, error)
}

// noChanges are how CloudFormation begins the reason of a change set that failed because there is nothing to do.
var noChanges = []string{"The submitted information didn't contain changes", "No updates are to be performed"}

const (
	changeSetInterval = 3 * time.Second
	changeSetPatience = 10 * time.Minute
)

// changesOfChangeSet reads what CloudFormation itself says that a change set does. The templates, old and new, give the values:
// so the same change has the same hash as without an account.
func changesOfChangeSet(ctx context.Context, w world, api stackReader, stack, changeSet string, progress io.Writer) ([]resourceChange, error) {
	old, _, err := deployedTemplate(ctx, api, stack)
	if err != nil {
		return nil, err
	}
	listed, none, err := describeChangeSet(ctx, w, api, stack, changeSet)
	// It is not documented whether CodePipeline keeps a change set without changes. Without one nothing can be executed.
	if missing := new(types.ChangeSetNotFoundException); errors.As(err, &missing) && old != nil {
		fmt.Fprintf(progress, "infra guard: %v: without it there is nothing to execute\n", err)
		return nil, nil
	}
	if err != nil || none {
		return nil, err
	}
	if old == nil { // the change set creates the stack
		return nil, nil
	}
	newer, err := getTemplate(ctx, api, &cloudformation.GetTemplateInput{StackName: &stack, ChangeSetName: &changeSet})
	if err != nil {
		return nil, fmt.Errorf("read the template of change set %s of stack %s: %w", changeSet, stack, err)
	}
	return changesOf(pair{Stack: stack, Old: old, New: newer}, listed)
}

// describeChangeSet waits until the change set is there, and returns all of it. The second result says that it has no changes.
func describeChangeSet(ctx context.Context, w world, api stackReader, stack, changeSet string) ([]types.ResourceChange, bool, error) {
	fail := func(err error) ([]types.ResourceChange, bool, error) {
		return nil, false, fmt.Errorf("change set %s of stack %s: %w", changeSet, stack, err)
	}
	in := &cloudformation.DescribeChangeSetInput{StackName: &stack, ChangeSetName: &changeSet, IncludePropertyValues: aws.Bool(true)}
	var all []types.ResourceChange
	for deadline := w.now().Add(changeSetPatience); ; {
		out, err := api.DescribeChangeSet(ctx, in)
		var missing *types.ChangeSetNotFoundException
		switch {
		case errors.As(err, &missing):
			return fail(fmt.Errorf("it does not exist (%w); `aws cloudformation list-change-sets --stack-name %s` lists those that do", err, stack))
		case err != nil:
			return fail(fmt.Errorf("%w; the credentials or the role must be allowed to read the stack", err))
		}
		reason := aws.ToString(out.StatusReason)
		switch out.Status {
		case types.ChangeSetStatusCreateComplete:
		case types.ChangeSetStatusCreatePending, types.ChangeSetStatusCreateInProgress:
			if !w.now().Before(deadline) {
				return fail(fmt.Errorf("it is still %s after %s; look at it in the console of CloudFormation, and run this again", out.Status, changeSetPatience))
			}
			if err := w.wait(ctx, changeSetInterval); err != nil {
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
func deployedTemplate(ctx context.Context, api stackReader, stack string) (assembly.Template, bool, error) {
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
	found := out.Stacks[0]
	if found.StackStatus == types.StackStatusReviewInProgress { // there is a change set that would create it, and no template
		return nil, false, nil
	}
	template, err := getTemplate(ctx, api, &cloudformation.GetTemplateInput{StackName: &stack})
	if err != nil {
		return nil, false, fmt.Errorf("read the deployed template of stack %s: %w", stack, err)
	}
	return template, aws.ToBool(found.EnableTerminationProtection), nil
}

func getTemplate(ctx context.Context, api stackReader, in *cloudformation.GetTemplateInput) (assembly.Template, error) {
	in.TemplateStage = types.TemplateStageOriginal
	out, err := api.GetTemplate(ctx, in)
	if err != nil {
		return nil, err
	}
	var d assembly.Template
	if err := json.Unmarshal([]byte(aws.ToString(out.TemplateBody)), &d); err != nil {
		return nil, fmt.Errorf("it is no JSON, so that the CDK has not deployed it: %w", err)
	}
	return d, nil
}

// changesOf puts CloudFormation's own verdict into the neutral form that the rules judge.
func changesOf(p pair, listed []types.ResourceChange) ([]resourceChange, error) {
	older, newer, err := bothResources(p)
	if err != nil {
		return nil, err
	}
	b := builder{stack: p.Stack, old: older, new: newer, updates: map[string]map[string]alteration{}, unclear: map[string]string{}}
	for _, change := range listed {
		id := aws.ToString(change.LogicalResourceId)
		if _, known := older[id]; !known || change.Action == types.ChangeActionRemove {
			continue // new, or missing in the new template
		}
		b.updates[id] = updatesOf(change)
	}
	for _, change := range listed {
		id := aws.ToString(change.LogicalResourceId)
		if _, known := older[id]; known {
			if unclear := b.unexplained(id, change); unclear != "" {
				b.unclear[id] = unclear
			}
		}
	}
	return b.changes(), nil
}

// updatesOf returns what a change set says of the properties of one resource. A property can have several details, as where
// its text changes and what it refers to does so too.
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
		u.requires = max(u.requires, map[types.RequiresRecreation]recreation{
			types.RequiresRecreationAlways: always, types.RequiresRecreationConditionally: conditionally,
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
		if len(u.causes) > 0 { // what it refers to says more, in whatever order the details are
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

// unexplained says why a resource may go although no property of it tells.
func (b builder) unexplained(id string, change types.ResourceChange) string {
	kind := protected[b.old[id].Type]
	switch change.Action {
	case types.ChangeActionModify:
	case types.ChangeActionDynamic:
		return fmt.Sprintf("CloudFormation cannot tell before the deployment what becomes of the %s.", kind)
	case types.ChangeActionRemove:
		if _, stays := b.new[id]; stays {
			return fmt.Sprintf("CloudFormation removes the %s, although the new template has it.", kind)
		}
		return ""
	default:
		return ""
	}
	if change.Replacement == types.ReplacementTrue && len(b.replacing(id, map[string]bool{})) == 0 {
		return fmt.Sprintf("CloudFormation says that the %s is replaced, and names no property that would explain it.", kind)
	}
	return ""
}
