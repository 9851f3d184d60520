package main

import (
	"encoding/json"
	"os"
	"testing"
)

func resourcesOf(t *testing.T, body []byte) map[string]json.RawMessage {
	t.Helper()
	var file template
	if err := json.Unmarshal(body, &file); err != nil {
		t.Fatal(err)
	}
	return file.Resources
}

// The README quotes this figure.
func TestPaceOfTheShippedEnvironmentsIsAtMostAMinute(t *testing.T) {
	for _, env := range []string{"dev", "prod"} {
		body, err := os.ReadFile("../../stacks/testdata/" + env + "/service.template.json")
		if err != nil {
			t.Fatal(err)
		}
		p, ok := readPace(resourcesOf(t, body))
		if !ok || p.seconds() > 60 || p.Stop > 20 {
			t.Errorf("%s: %+v, found %v; want at most 60 s, with at most 20 s of stopping", env, p, ok)
		}
	}
}

func TestPaceOfAServiceWithoutSettingsIsTheDefault(t *testing.T) {
	p, ok := readPace(resourcesOf(t, []byte(`{"Resources": {
		"Group": {"Type": "AWS::ElasticLoadBalancingV2::TargetGroup", "Properties": {}},
		"Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": [{"PortMappings": [{"ContainerPort": 80}]}]}},
		"OneOff": {"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": [{"StopTimeout": 5}]}}
	}}`)))
	if !ok || p != defaultPace || p.seconds() != 480 {
		t.Errorf("%+v, found %v, want %+v", p, ok, defaultPace)
	}
}

func TestThereIsNoPaceWithoutAService(t *testing.T) {
	if p, ok := readPace(resourcesOf(t, []byte(`{"Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}}}`))); ok {
		t.Errorf("found %+v", p)
	}
}
