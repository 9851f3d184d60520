package assembly

import (
	"encoding/json"
	"os"
	"testing"
)

func resourcesOf(t *testing.T, body []byte) map[string]Resource {
	t.Helper()
	var template Template
	if err := json.Unmarshal(body, &template); err != nil {
		t.Fatal(err)
	}
	resources, err := template.Resources()
	if err != nil {
		t.Fatal(err)
	}
	return resources
}

// The README quotes this figure.
func TestPace(t *testing.T) {
	for _, env := range []string{"dev", "prod"} {
		t.Run("is_at_most_a_minute_in_"+env, func(t *testing.T) {
			body, err := os.ReadFile("../../stacks/testdata/" + env + "/service.template.json")
			if err != nil {
				t.Fatal(err)
			}
			if p := paceOf(resourcesOf(t, body)); p == nil || p.seconds() > 60 || p.Stop > 20 {
				t.Errorf("%+v, want at most 60 s, with at most 20 s of stopping", p)
			}
		})
	}
	t.Run("is_the_default_without_settings", func(t *testing.T) {
		p := paceOf(resourcesOf(t, []byte(`{"Resources": {
			"Group": {"Type": "AWS::ElasticLoadBalancingV2::TargetGroup", "Properties": {}},
			"Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": [{"PortMappings": [{"ContainerPort": 80}]}]}},
			"OneOff": {"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": [{"StopTimeout": 5}]}}
		}}`)))
		if p == nil || *p != defaultPace || p.seconds() != 480 {
			t.Errorf("%+v, want %+v", p, defaultPace)
		}
	})
	t.Run("is_unknown_without_a_service", func(t *testing.T) {
		if p := paceOf(resourcesOf(t, []byte(`{"Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}}}`))); p != nil {
			t.Errorf("found %+v", p)
		}
	})
}
