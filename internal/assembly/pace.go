package assembly

import (
	"fmt"
	"strconv"
)

// Pace is how many seconds the settings of a service add to a release, from the image in the registry to the end of the last old
// task. A new task must pass its health checks, then an old task is taken out of the load balancer, then the old task is stopped.
// No setting decides how long ECS takes to place a task and to pull the image.
type Pace struct {
	HealthCheck    int
	Deregistration int
	Stop           int
}

// defaultPace is the pace of a service without any settings.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html (30 s, 5 times)
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html (300 s)
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html (30 s)
var defaultPace = Pace{HealthCheck: 30 * 5, Deregistration: 300, Stop: 30}

func (p Pace) seconds() int { return p.HealthCheck + p.Deregistration + p.Stop }

func (p Pace) String() string {
	return fmt.Sprintf("%d s of health checks, %d s of deregistration and %d s of stopping make %d s; with the defaults of ELB and ECS it is %d s",
		p.HealthCheck, p.Deregistration, p.Stop, p.seconds(), defaultPace.seconds())
}

// targetGroup and taskDefinition are the properties that decide the pace.
type targetGroup struct {
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

// paceOf returns the pace of the load-balanced service among a template's resources, or nil if there is none.
func paceOf(resources map[string]Resource) *Pace {
	var groups []targetGroup
	var tasks []taskDefinition
	for _, r := range resources {
		switch r.Type {
		case "AWS::ElasticLoadBalancingV2::TargetGroup":
			var group targetGroup
			if convert(r.Properties, &group) == nil {
				groups = append(groups, group)
			}
		case "AWS::ECS::TaskDefinition":
			var task taskDefinition
			if convert(r.Properties, &task) == nil && len(task.ContainerDefinitions) > 0 && len(task.ContainerDefinitions[0].PortMappings) > 0 {
				tasks = append(tasks, task)
			}
		}
	}
	if len(groups) != 1 || len(tasks) != 1 {
		return nil
	}
	p := defaultPace
	p.HealthCheck = or(groups[0].HealthCheckIntervalSeconds, 30) * or(groups[0].HealthyThresholdCount, 5)
	p.Stop = or(tasks[0].ContainerDefinitions[0].StopTimeout, p.Stop)
	for _, attribute := range groups[0].TargetGroupAttributes {
		if seconds, err := strconv.Atoi(attribute.Value); err == nil && attribute.Key == "deregistration_delay.timeout_seconds" {
			p.Deregistration = seconds
		}
	}
	return &p
}

func or(value *int, otherwise int) int {
	if value == nil {
		return otherwise
	}
	return *value
}
