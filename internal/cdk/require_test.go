package cdk

import "testing"

func TestRequire(t *testing.T) {
	type Props struct {
		Name   string
		Count  int
		Flag   bool
		Secret *string
	}
	secret := "s"
	tests := map[string]struct {
		props Props
		want  any
	}{
		"accepts what is complete":   {Props{"a", 1, false, &secret}, nil},
		"accepts a missing optional": {Props{"a", 0, false, &secret}, nil},
		"names a missing field":      {Props{"", 1, true, &secret}, "cdk.Props: Name is required"},
		"names a nil":                {Props{"a", 1, true, nil}, "cdk.Props: Secret is required"},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			}()
			Require(test.props, "Count")
		})
	}
}
