package stacks_test

import (
	"fmt"
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

func TestSecretsAreGeneratedAndNeverWritten(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		credentials := env.ByPath(t, "Data/Database/Credentials/Resource")
		// A change of any of these makes a new password.
		want(t, credentials, map[string]any{
			"SecretStringTemplate": fmt.Sprintf(`{"username":"%s"}`, cfg.Database.User), "GenerateStringKey": "password",
			"PasswordLength": 32, "ExcludePunctuation": true, "IncludeSpace": false, "RequireEachIncludedType": true,
		}, "GenerateSecretString")
		want(t, env.ByPath(t, "Data/FlaskSecret/Resource"), map[string]any{
			"PasswordLength": 64, "ExcludePunctuation": true, "IncludeSpace": false, "RequireEachIncludedType": true,
		}, "GenerateSecretString")
		want(t, env.One(t, "AWS::RDS::DBInstance"), map[string]any{"Fn::Join": []any{"", []any{
			"{{resolve:secretsmanager:", map[string]any{"Ref": credentials.ID}, ":SecretString:password::}}",
		}}}, "MasterUserPassword")
		for _, secret := range env.All("AWS::SecretsManager::Secret") {
			want(t, secret, nil, "SecretString")
		}
	})
}

func TestTheDeliveryHoldsNoSecret(t *testing.T) {
	for _, env := range []environment{theDelivery(t), theCrossing(t)} {
		for _, broken := range templatecheck.Secrets(env, config.Environment{}) {
			t.Error(broken)
		}
	}
}
