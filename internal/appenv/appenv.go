// Package appenv is the contract with the application: the variables that the stacks set in its container. The stacks write
// them, and the configuration refuses them among variables of the user's own.
package appenv

const (
	DatabaseHost = "DATABASE_HOST"
	DatabasePort = "DATABASE_PORT" // always [MySQLPort]
	DatabaseName = "DATABASE_DB_NAME"
	PhotosBucket = "PHOTOS_BUCKET"
	Port         = "PORT" // service.containerPort: where the load balancer connects to
	Role         = "APP_ROLE"

	// PlaceholderStatus is for the placeholder, where the health check does not want 200: the HTTP status to answer with.
	PlaceholderStatus = "PLACEHOLDER_STATUS"

	// From Secrets Manager, when a task starts.
	DatabaseUser     = "DATABASE_USER"
	DatabasePassword = "DATABASE_PASSWORD"
	FlaskSecret      = "FLASK_SECRET"
)

// MySQLPort is the port of the database.
const MySQLPort = 3306

// The roles in which the application's image is started, the values of [Role]. The placeholder knows them all.
const (
	Web    = "web"
	Worker = "worker"
	Task   = "task"
)

// Reserved are the variables that the configuration cannot set. [Port] and [DatabasePort] are not among them: a file may
// repeat their value.
var Reserved = []string{DatabaseHost, DatabaseName, PhotosBucket, Role, PlaceholderStatus, DatabaseUser, DatabasePassword, FlaskSecret}
