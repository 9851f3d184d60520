// Package enginetest runs the SQL files of the parent directory on an embedded MySQL-dialect engine, and the
// application's queries on what they make. It is a module of its own because the engine takes long to compile.
//
// The engine shows in a second that the files are well-formed, repeatable and fit for the queries. It enforces neither
// lengths of keys nor every rule of a real server: the schema task's own tests run on one.
package enginetest

import (
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	gmssql "github.com/dolthub/go-mysql-server/sql"
	_ "github.com/go-sql-driver/mysql"
	"github.com/sirupsen/logrus"
)

// newDatabase returns an empty database of a new engine.
func newDatabase(t *testing.T) *sql.DB {
	t.Helper()
	logrus.SetOutput(io.Discard) // the engine logs each connection
	app := memory.NewDatabase("app")
	app.EnablePrimaryKeyIndexes()
	provider := memory.NewDBProvider(app)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(server.Config{Protocol: "tcp", Listener: listener}, sqle.NewDefault(provider), gmssql.NewContext,
		memory.NewSessionBuilder(provider), nil)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Close() })
	db, err := sql.Open("mysql", fmt.Sprintf("root@tcp(%s)/app?multiStatements=true", listener.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// files returns the SQL files in the order in which the schema task applies them.
func files(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../*.sql")
	if err != nil {
		t.Fatal(err)
	}
	first := slices.Index(paths, "../init.sql")
	if first < 0 {
		t.Fatalf("no ../init.sql in %v", paths)
	}
	return slices.Concat([]string{"../init.sql"}, paths[:first], paths[first+1:])
}

func apply(t *testing.T, db *sql.DB, paths []string) {
	t.Helper()
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(string(text)); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

type employee struct {
	fullName, location, jobTitle, badges string
	objectKey                            sql.NullString
}

func insert(t *testing.T, db *sql.DB, employees ...employee) {
	t.Helper()
	for _, e := range employees {
		if _, err := db.Exec("INSERT INTO employee (full_name, location, job_title, badges, object_key) VALUES (?, ?, ?, ?, ?)",
			e.fullName, e.location, e.jobTitle, e.badges, e.objectKey); err != nil {
			t.Fatal(err)
		}
	}
}

// names returns the first column of a query's rows, joined.
func names(t *testing.T, db *sql.DB, query string, args ...any) string {
	t.Helper()
	rows, err := db.Query(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

func TestSchema(t *testing.T) {
	db := newDatabase(t)
	apply(t, db, files(t))
	insert(t, db,
		employee{"Ada Ñandú 🦤", "Lima", "Engineer", "coffee,climber", sql.NullString{String: "photos/ada.png", Valid: true}},
		employee{"Bo Lee", "Oslo", "Designer", "", sql.NullString{}},
		employee{"Adam Poe", "Lima", "Engineer", "climber", sql.NullString{}})
	apply(t, db, []string{"../init.sql"}) // as a later deployment does when it has changed

	for _, c := range []struct {
		name, query string
		args        []any
		want        string
	}{
		{"lists_all_in_the_order_of_creation", "SELECT full_name FROM employee ORDER BY created_datetime, id", nil, "Ada Ñandú 🦤, Bo Lee, Adam Poe"},
		{"selects_by_location", "SELECT full_name FROM employee WHERE location = ? ORDER BY full_name", []any{"Lima"}, "Ada Ñandú 🦤, Adam Poe"},
		{"searches_by_the_beginning_of_a_name", "SELECT full_name FROM employee WHERE full_name LIKE ?", []any{"Bo%"}, "Bo Lee"},
		{"searches_without_regard_to_case", "SELECT full_name FROM employee WHERE full_name LIKE ?", []any{"bo l%"}, "Bo Lee"},
		{"finds_a_badge", "SELECT full_name FROM employee WHERE FIND_IN_SET(?, badges) ORDER BY id", []any{"climber"}, "Ada Ñandú 🦤, Adam Poe"},
		{"finds_those_with_a_photo", "SELECT object_key FROM employee WHERE object_key IS NOT NULL", nil, "photos/ada.png"},
		{"counts_by_location", "SELECT CONCAT(location, ' ', COUNT(*)) FROM employee GROUP BY location ORDER BY location", nil, "Lima 2, Oslo 1"},
		{"numbers_from_one", "SELECT MAX(id) FROM employee", nil, "3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := names(t, db, c.query, c.args...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}

	t.Run("updates_and_deletes_by_id", func(t *testing.T) {
		for _, statement := range []string{"UPDATE employee SET badges = CONCAT_WS(',', NULLIF(badges, ''), 'coffee') WHERE id = 2", "DELETE FROM employee WHERE id = 1"} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(t, db, "SELECT full_name FROM employee WHERE FIND_IN_SET('coffee', badges)"); got != "Bo Lee" {
			t.Errorf("got %q, want Bo Lee", got)
		}
	})
	t.Run("has_an_index_for_each_search", func(t *testing.T) {
		got := names(t, db, `SELECT DISTINCT column_name FROM information_schema.statistics
			WHERE table_schema = 'app' AND table_name = 'employee' AND seq_in_index = 1 ORDER BY column_name`)
		if want := "created_datetime, full_name, id, location"; got != want {
			t.Errorf("indexed are %s, want %s", got, want)
		}
	})
	t.Run("requires_a_name", func(t *testing.T) {
		if _, err := db.Exec("INSERT INTO employee (location, job_title) VALUES ('Lima', 'Engineer')"); err == nil {
			t.Error("an employee without a name was taken")
		}
	})
}
