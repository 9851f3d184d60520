package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"flask-on-fargate/internal/platform"
)

// properties are the resource's properties, decoded and valid.
type properties struct {
	// RepositoryName is the name of the ECR repository in the function's account and region.
	RepositoryName string
	// ContainerPort is the port at which the placeholder serves, 1 to 65535.
	ContainerPort int
	// Architecture is that of the service's tasks.
	Architecture platform.Architecture
	// ProgramVersion identifies the deployed function. It only has to change when the function does, so that
	// CloudFormation calls Update; what is pushed is decided by content.
	ProgramVersion string
}

// repositoryName is the pattern of
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html, which also sets the length of
// 2 to 256 characters.
var repositoryName = regexp.MustCompile(`^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

// decode reads the properties as CloudFormation sends them: strings only, among them the ServiceToken and the
// ServiceTimeout, which are its own. The error names every property that is unknown, missing or invalid.
func decode(raw map[string]any) (properties, error) {
	var p properties
	parsers := map[string]func(string) error{
		"ServiceToken":   func(string) error { return nil },
		"ServiceTimeout": func(string) error { return nil },
		"RepositoryName": func(s string) error {
			p.RepositoryName = s
			if len(s) < 2 || len(s) > 256 || !repositoryName.MatchString(s) {
				return errors.New("want the name of an ECR repository, without registry or tag: 2 to 256 lower-case letters, digits and . _ - /")
			}
			return nil
		},
		"ContainerPort": func(s string) (err error) {
			p.ContainerPort, err = strconv.Atoi(s)
			if err != nil || p.ContainerPort < 1 || p.ContainerPort > 65535 {
				return errors.New("want a TCP port, 1 to 65535")
			}
			return nil
		},
		"Architecture": func(s string) error {
			p.Architecture = platform.Architecture(s)
			if p.Architecture != platform.X86_64 && p.Architecture != platform.ARM64 {
				return fmt.Errorf("want %s or %s", platform.X86_64, platform.ARM64)
			}
			return nil
		},
		"ProgramVersion": func(s string) error {
			p.ProgramVersion = s
			if s == "" {
				return errors.New("want the hash of the function's asset")
			}
			return nil
		},
	}

	var errs []error
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		parse, known := parsers[key]
		value, isString := raw[key].(string)
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("property %.64q is unknown: want %v", key, slices.Sorted(maps.Keys(parsers))))
		case !isString:
			errs = append(errs, fmt.Errorf("property %s is %.64v: want a string", key, raw[key]))
		default:
			if err := parse(value); err != nil {
				errs = append(errs, fmt.Errorf("property %s is %.64q: %w", key, value, err))
			}
		}
	}
	for _, key := range []string{"RepositoryName", "ContainerPort", "Architecture", "ProgramVersion"} {
		if _, ok := raw[key]; !ok {
			errs = append(errs, fmt.Errorf("property %s is missing", key))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return properties{}, err
	}
	return p, nil
}
