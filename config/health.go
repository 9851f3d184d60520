package config

import (
	"net/http"
	"strconv"
	"strings"
)

// Healthy reports whether an HTTP status is one of HealthCheckCodes, which must be valid.
func (s Service) Healthy(status int) bool {
	for from, to := range s.healthyRanges {
		if status >= from && status <= to {
			return true
		}
	}
	return false
}

// HealthyStatus is the HTTP status with which the placeholder answers: 200 if it counts as healthy, else the first of
// the HealthCheckCodes, which must be valid.
func (s Service) HealthyStatus() int {
	if s.Healthy(http.StatusOK) {
		return http.StatusOK
	}
	for from := range s.healthyRanges {
		return from
	}
	panic("config: HealthyStatus of a service without HealthCheckCodes")
}

// healthyRanges are the first and the last status of each range in HealthCheckCodes. A single code is a range of one.
func (s Service) healthyRanges(yield func(from, to int) bool) {
	for part := range strings.SplitSeq(s.HealthCheckCodes, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, _ := strconv.Atoi(first)
		to, _ := strconv.Atoi(last)
		if !yield(from, to) {
			return
		}
	}
}
