package stacks_test

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

func TestRepository(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		repository := env.One(t, "AWS::ECR::Repository")
		want(t, repository, true, "ImageScanningConfiguration", "ScanOnPush")
		want(t, repository, "MUTABLE_WITH_EXCLUSION", "ImageTagMutability")
		want(t, repository, []any{map[string]any{
			"ImageTagMutabilityExclusionFilterType": "WILDCARD", "ImageTagMutabilityExclusionFilterValue": "sha-*",
		}}, "ImageTagMutabilityExclusionFilters")
	})
}

// expired returns the images that a lifecycle policy expires, as ECR documents it: a rule counts all images that it matches,
// the newest first, and an image that a rule of higher priority matches is not expired by a lower one. An image is a list of
// its tags; the first image is the newest. Rules by age are left out.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
func expired(t *testing.T, lifecyclePolicy string, images []string) []string {
	t.Helper()
	var lifecycle struct {
		Rules []struct {
			Selection struct {
				TagPatternList []string
				CountType      string
				CountNumber    int
			}
		}
	}
	if err := json.Unmarshal([]byte(lifecyclePolicy), &lifecycle); err != nil {
		t.Fatal(err)
	}
	var gone []string
	judged := map[string]bool{}
	for _, rule := range lifecycle.Rules {
		count := 0
		for _, image := range images {
			if rule.Selection.CountType != "imageCountMoreThan" || !slices.ContainsFunc(strings.Fields(image), func(tag string) bool {
				matched, _ := path.Match(rule.Selection.TagPatternList[0], tag)
				return matched
			}) {
				continue
			}
			if count++; count > rule.Selection.CountNumber && !judged[image] {
				gone = append(gone, image)
			}
			judged[image] = true
		}
	}
	return gone
}

func TestLifecycleOfImages(t *testing.T) {
	tagged := func(format string, n int) []string {
		var images []string
		for i := range n {
			images = append(images, fmt.Sprintf(format, i))
		}
		return images
	}
	forEachShipped(t, func(t *testing.T, env environment, _ config.Environment) {
		rules := at(env.One(t, "AWS::ECR::Repository").Properties, "LifecyclePolicy", "LifecyclePolicyText").(string)
		if !strings.Contains(rules, `"tagStatus":"untagged","countType":"sinceImagePushed","countNumber":14,"countUnit":"days"`) {
			t.Errorf("untagged images do not go after 14 days: %s", rules)
		}
		tests := map[string]struct {
			images, gone []string
		}{
			"builds: the newest 20 and live stay":        {slices.Concat(tagged("sha-%d", 23), []string{"sha-old live"}), tagged("sha-%d", 23)[20:]},
			"placeholders: the newest 5 and seed stay":   {slices.Concat(tagged("placeholder-%d", 7), []string{"placeholder-x seed live"}), tagged("placeholder-%d", 7)[5:]},
			"other tags: the newest 47 of all stay":      {slices.Concat([]string{"c0 latest"}, tagged("commit%d", 50), []string{"c1 live"}), tagged("commit%d", 50)[46:]},
			"other tags: 20 stay beside newer builds":    {slices.Concat(tagged("sha-%d", 20), tagged("placeholder-%d", 5), []string{"x live", "y seed"}, tagged("v%d", 21)), []string{"v20"}},
			"what an old version of this project pushed": {[]string{"seed live", "live-old"}, nil},
		}
		for behaviour, test := range tests {
			t.Run(behaviour, func(t *testing.T) {
				if got := expired(t, rules, test.images); !slices.Equal(got, test.gone) {
					t.Errorf("these expire: %q, want %q", got, test.gone)
				}
			})
		}
	})
}
