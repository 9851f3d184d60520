package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"flask-on-fargate/internal/platform"
)

// codedError is an error of an AWS API.
type codedError struct{ code string }

func (e *codedError) Error() string                 { return e.code }
func (e *codedError) ErrorCode() string             { return e.code }
func (e *codedError) ErrorMessage() string          { return "" }
func (e *codedError) ErrorFault() smithy.ErrorFault { return smithy.FaultClient }

func TestDecode(t *testing.T) {
	p, err := decode(createEvent("ContainerPort", "80", "Architecture", "X86_64").ResourceProperties)
	if want := (properties{repositoryUnderTest, 80, "X86_64", "abc"}); err != nil || p != want {
		t.Errorf("got %+v, %v; want %+v", p, err, want)
	}
}

func TestDecodeNamesEveryInvalidProperty(t *testing.T) {
	tests := map[string]struct {
		change map[string]any // nil removes
		want   []string
	}{
		"unknown":         {map[string]any{"Colour": "red"}, []string{`property "Colour" is unknown: want [Architecture ContainerPort ProgramVersion RepositoryName`}},
		"missing":         {map[string]any{"RepositoryName": nil, "ProgramVersion": nil}, []string{"RepositoryName is missing", "ProgramVersion is missing"}},
		"not a string":    {map[string]any{"ContainerPort": 80.0}, []string{"ContainerPort is 80: want a string"}},
		"port not number": {map[string]any{"ContainerPort": "http"}, []string{`ContainerPort is "http": want a TCP port, 1 to 65535`}},
		"port too low":    {map[string]any{"ContainerPort": "0"}, []string{`ContainerPort is "0"`}},
		"port too high":   {map[string]any{"ContainerPort": "65536"}, []string{`ContainerPort is "65536"`}},
		"architecture":    {map[string]any{"Architecture": "arm64"}, []string{`Architecture is "arm64": want X86_64 or ARM64`}},
		"no version":      {map[string]any{"ProgramVersion": ""}, []string{`ProgramVersion is ""`}},
		"repository":      {map[string]any{"RepositoryName": "host.example.com/App:live"}, []string{`RepositoryName is "host.example.com/App:live"`}},
		"all at once":     {map[string]any{"Colour": "", "ContainerPort": "", "Architecture": ""}, []string{"Colour", "ContainerPort", "Architecture"}},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			raw := createEvent().ResourceProperties
			maps.Copy(raw, test.change)
			maps.DeleteFunc(raw, func(_ string, value any) bool { return value == nil })
			_, err := decode(raw)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	valid, _ := json.Marshal(createEvent().ResourceProperties)
	f.Add(valid)
	f.Add([]byte(`{"RepositoryName":"a","ContainerPort":"05000","Architecture":["ARM64"],"x":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var raw map[string]any
		if json.Unmarshal(data, &raw) != nil {
			t.Skip()
		}
		p, err := decode(raw)
		if err != nil {
			if jsonLength(reason(err)) > maxReason || p != (properties{}) {
				t.Errorf("%+v with a reason of %d bytes", p, jsonLength(reason(err)))
			}
			return
		}
		if p.ContainerPort < 1 || p.ContainerPort > 65535 || p.Architecture != platform.ARM64 && p.Architecture != platform.X86_64 || p.ProgramVersion == "" ||
			len(p.RepositoryName) < 2 || strings.ContainsAny(p.RepositoryName, ":@ A") {
			t.Errorf("accepted %+v", p)
		}
		for key := range raw {
			switch key {
			case "ServiceToken", "ServiceTimeout", "RepositoryName", "ContainerPort", "Architecture", "ProgramVersion":
			default:
				t.Errorf("accepted the unknown property %q", key)
			}
		}
	})
}
