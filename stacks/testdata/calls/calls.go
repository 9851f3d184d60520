// Package calls asks AWS in every way that a handler could be written in (stacks/calls_test.go).
package calls

import (
	"context"

	registry "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

type first struct{ client *registry.Client }

func (f first) handle(ctx context.Context) {
	f.client.DescribeRegistry(ctx, nil)
	var in registry.DeleteRepositoryInput
	f.client.DeleteRepository(ctx, &in)
	f.pages()
}

func (f first) pages() { registry.NewListImagesPaginator(f.client, nil) }

type stopper interface {
	StopTask(context.Context, *ecs.StopTaskInput, ...func(*ecs.Options)) (*ecs.StopTaskOutput, error)
}

type second struct{ ecs stopper }

func (s second) handle(context.Context) { retry(s.ecs.StopTask) }

func retry[T any](T) {}
