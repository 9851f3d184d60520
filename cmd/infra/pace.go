package main

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// pace is how many seconds the settings of a service add to a release, from the image in the registry to the last old task
// gone: a new task must pass its health checks, then an old one is taken out of the load balancer, then it is stopped.
// What a release takes besides, placing tasks and pulling the image, no setting decides.
type pace struct {
	HealthCheck    int
	Deregistration int
	Stop           int
}

// defaultPace is that of a service for which nothing is set.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html (30 s, 5 times)
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html (300 s)
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html (30 s)
var defaultPace = pace{HealthCheck: 30 * 5, Deregistration: 300, Stop: 30}

func (p pace) seconds() int { return p.HealthCheck + p.Deregistration + p.Stop }

func (p pace) String() string {
	return fmt.Sprintf("%d s of health checks, %d s of deregistration and %d s of stopping make %d s; with the defaults of ELB and ECS it is %d s",
		p.HealthCheck, p.Deregistration, p.Stop, p.seconds(), defaultPace.seconds())
}

// readPace returns the pace of the load-balanced service in a template, or false if there is none.
func readPace(resources map[string]json.RawMessage) (pace, bool) {
	var group struct {
		HealthCheckIntervalSeconds *int
		HealthyThresholdCount      *int
		TargetGroupAttributes      []struct{ Key, Value string }
	}
	type taskDefinition struct {
		ContainerDefinitions []struct {
			StopTimeout  *int
			PortMappings []any
		}
	}
	var task taskDefinition
	var groups, tasks int
	for _, body := range resources {
		var r struct {
			Type       string
			Properties json.RawMessage
		}
		if json.Unmarshal(body, &r) != nil {
			continue
		}
		switch r.Type {
		case "AWS::ElasticLoadBalancingV2::TargetGroup":
			if json.Unmarshal(r.Properties, &group) == nil {
				groups++
			}
		case "AWS::ECS::TaskDefinition":
			var candidate taskDefinition
			if json.Unmarshal(r.Properties, &candidate) == nil && len(candidate.ContainerDefinitions) > 0 && len(candidate.ContainerDefinitions[0].PortMappings) > 0 {
				task = candidate
				tasks++
			}
		}
	}
	if groups != 1 || tasks != 1 {
		return pace{}, false
	}
	p := defaultPace
	p.HealthCheck = or(group.HealthCheckIntervalSeconds, 30) * or(group.HealthyThresholdCount, 5)
	p.Stop = or(task.ContainerDefinitions[0].StopTimeout, p.Stop)
	for _, attribute := range group.TargetGroupAttributes {
		if seconds, err := strconv.Atoi(attribute.Value); err == nil && attribute.Key == "deregistration_delay.timeout_seconds" {
			p.Deregistration = seconds
		}
	}
	return p, true
}

func or(value *int, otherwise int) int {
	if value == nil {
		return otherwise
	}
	return *value
}
