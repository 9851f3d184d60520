// Package platform names a processor architecture as each service and program does.
package platform

// Architecture is a processor architecture, as ECS and the configuration name it.
type Architecture string

// The architectures that Fargate and Lambda run.
const (
	X86_64 Architecture = "X86_64"
	ARM64  Architecture = "ARM64"
)

// GOARCH is the architecture as Go and container images name it.
func (a Architecture) GOARCH() string {
	if a == ARM64 {
		return "arm64"
	}
	return "amd64"
}

// Lambda is the architecture as Lambda names it.
func (a Architecture) Lambda() string {
	if a == ARM64 {
		return "arm64"
	}
	return "x86_64"
}
