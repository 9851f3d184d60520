package config_test

import (
	"slices"
	"testing"

	"flask-on-fargate/config"
)

func TestHealthCheckCodes(t *testing.T) {
	tests := map[string]struct {
		status    int // of the placeholder
		healthy   []int
		unhealthy []int
	}{
		"200":             {200, []int{200}, []int{199, 201, 302}},
		"302":             {302, []int{302}, []int{200, 301, 303}},
		"301,302":         {301, []int{301, 302}, []int{200, 303}},
		"200-399":         {200, []int{200, 302, 399}, []int{199, 400}},
		"401,200":         {200, []int{401, 200}, []int{400}},
		"300-308,401,404": {300, []int{300, 308, 401, 404}, []int{200, 309, 402}},
	}
	for codes, test := range tests {
		t.Run(codes, func(t *testing.T) {
			service := config.Service{HealthCheckCodes: codes}
			if got := service.HealthyStatus(); got != test.status {
				t.Errorf("the placeholder answers %d, want %d", got, test.status)
			}
			for _, status := range slices.Concat(test.healthy, test.unhealthy) {
				if got, want := service.Healthy(status), slices.Contains(test.healthy, status); got != want {
					t.Errorf("%d is healthy: %t, want %t", status, got, want)
				}
			}
		})
	}
}
