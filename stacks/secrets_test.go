package stacks_test

import (
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

func TestTheDeliveryHoldsNoSecret(t *testing.T) {
	for _, env := range []environment{theDelivery(t), theCrossing(t)} {
		for _, broken := range templatecheck.Secrets(env, config.Environment{}) {
			t.Error(broken)
		}
	}
}
