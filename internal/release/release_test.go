package release

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"flask-on-fargate/internal/imagetag"
	"flask-on-fargate/internal/registry"
)

func TestWithImageKeepsTheRestOfATaskDefinition(t *testing.T) {
	// Every field is set, so that one that is forgotten shows, also one that a later SDK has.
	var current ecs.DescribeTaskDefinitionOutput
	fill(reflect.ValueOf(&current).Elem(), 0)
	current.TaskDefinition.ContainerDefinitions[0].Name = aws.String("app")
	current.Tags = []types.Tag{
		{Key: aws.String("project"), Value: aws.String("flask")},
		{Key: aws.String("aws:cloudformation:stack-name"), Value: aws.String("flask-dev-service")},
	}
	got, err := withImage(&current, "app", "new:1")
	if err != nil {
		t.Fatal(err)
	}

	old, made := reflect.ValueOf(*current.TaskDefinition), reflect.ValueOf(*got)
	var dropped []string
	for _, field := range reflect.VisibleFields(old.Type()) {
		if !field.IsExported() || field.Name == "ContainerDefinitions" {
			continue
		}
		kept := made.FieldByName(field.Name)
		if !kept.IsValid() {
			dropped = append(dropped, field.Name)
		} else if !reflect.DeepEqual(kept.Interface(), old.FieldByName(field.Name).Interface()) {
			t.Errorf("%s is %v, was %v", field.Name, kept, old.FieldByName(field.Name))
		}
	}
	want := []string{"Compatibilities", "DeleteRequestedAt", "DeregisteredAt", "RegisteredAt", "RegisteredBy", "RequiresAttributes", "Revision", "Status", "TaskDefinitionArn"}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(dropped))); diff != "" {
		t.Errorf("fields that RegisterTaskDefinition does not take (-want +got)\n%s", diff)
	}
	container := current.TaskDefinition.ContainerDefinitions[0]
	if aws.ToString(container.Image) == "new:1" {
		t.Error("what was read was changed")
	}
	container.Image = aws.String("new:1")
	if !reflect.DeepEqual([]types.ContainerDefinition{container}, got.ContainerDefinitions) {
		t.Errorf("containers are %+v, want %+v", got.ContainerDefinitions, container)
	}
	if len(got.Tags) != 1 || aws.ToString(got.Tags[0].Key) != "project" {
		t.Errorf("tags %v, want that of the project alone", got.Tags)
	}
}

// fill sets every exported field below v to something.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if depth < 8 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(3)
	case reflect.Float64:
		v.SetFloat(3)
	}
}

func TestTheTagOfAPromotedImage(t *testing.T) {
	image := &registry.Image{Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}}
	tests := map[string]struct {
		reference string
		tags      []string
		want      string
	}{
		"is the commit's that was asked for":           {"sha-b", []string{"sha-a", "sha-b"}, "sha-b"},
		"is the commit's of what was asked for":        {"live", []string{"latest", "sha-a", "live"}, "sha-a"},
		"is always the same one of several commits":    {"live", []string{"sha-c", "sha-b"}, "sha-b"},
		"is that of a digest":                          {image.Digest.String(), []string{"sha-a"}, "sha-a"},
		"is made of the digest if no build tagged it":  {"latest", []string{"latest"}, "sha-256-" + strings.Repeat("ab", 32)},
		"is made of the digest if there is no tag now": {image.Digest.String(), nil, "sha-256-" + strings.Repeat("ab", 32)},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			got := PromotedTag(test.reference, test.tags, image)
			if got != test.want || CheckReference(got) != nil || !imagetag.IsCommit(got) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
