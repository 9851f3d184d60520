package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/go-sql-driver/mysql"
)

// database is the MySQL server that the service's variables name. Nil if there is none.
type database struct {
	name  string
	trust string // how the server's certificate was checked
	pool  *sql.DB
}

// newDatabase connects to nothing yet.
func newDatabase(getenv func(string) string) (*database, error) {
	host := getenv("DATABASE_HOST")
	if host == "" {
		return nil, nil
	}
	settings := mysql.NewConfig()
	settings.Net, settings.Addr = "tcp", net.JoinHostPort(host, "3306")
	settings.User, settings.Passwd, settings.DBName = getenv("DATABASE_USER"), getenv("DATABASE_PASSWORD"), getenv("DATABASE_DB_NAME")
	settings.Timeout, settings.ReadTimeout, settings.WriteTimeout = checkTime, checkTime, checkTime
	settings.Logger = &mysql.NopLogger{} // what fails is on the page

	d := &database{name: settings.DBName + " on " + settings.Addr}
	if bundle := getenv("DATABASE_CA"); bundle != "" {
		certificates, err := os.ReadFile(bundle)
		if err != nil {
			return nil, fmt.Errorf("DATABASE_CA: %w; want a file of PEM certificates", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(certificates) {
			return nil, fmt.Errorf("DATABASE_CA is %q, which holds no PEM certificate", bundle)
		}
		settings.TLS, d.trust = &tls.Config{RootCAs: roots, ServerName: host}, "verified TLS"
	} else {
		// The authority of RDS is in no general bundle, and the image, one program, has none of its own.
		settings.TLS, d.trust = &tls.Config{InsecureSkipVerify: true}, "TLS, certificate not verified"
	}
	connector, err := mysql.NewConnector(settings)
	if err != nil {
		return nil, err
	}
	d.pool = sql.OpenDB(connector)
	d.pool.SetMaxOpenConns(4)
	d.pool.SetConnMaxIdleTime(time.Minute)
	return d, nil
}

// check counts the schema's files that were applied.
func (d *database) check(ctx context.Context) (string, error) {
	if d == nil {
		return "DATABASE_HOST is not set", nil
	}
	var version string
	var rows int
	if err := d.pool.QueryRowContext(ctx, "SELECT VERSION(), COUNT(*) FROM schema_ledger").Scan(&version, &rows); err != nil {
		return "", fmt.Errorf("%s: %w", d.name, err)
	}
	return fmt.Sprintf("%s, server %s, %s, schema_ledger has %d rows", d.name, version, d.trust, rows), nil
}
