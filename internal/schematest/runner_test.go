//go:build schematest

package schematest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// container is the part of a task definition's container that the tests run.
type container struct {
	Name        string
	Command     []string
	Environment []struct {
		Name  string
		Value any // a string, or an intrinsic function
	}
	Secrets []struct{ Name string }
}

// readContainer returns the container named mysql of the template's one task definition that has it.
func readContainer(path string) (*container, error) {
	if path == "" {
		return nil, fmt.Errorf("SCHEMA_TEMPLATE is not set: it must be the absolute path of the synthesized template that has the schema task")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("SCHEMA_TEMPLATE: %w", err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &template); err != nil {
		return nil, fmt.Errorf("SCHEMA_TEMPLATE: %s: %w", path, err)
	}
	for id, resource := range template.Resources {
		if resource.Type != "AWS::ECS::TaskDefinition" {
			continue
		}
		var properties struct{ ContainerDefinitions []json.RawMessage }
		if err := json.Unmarshal(resource.Properties, &properties); err != nil {
			return nil, fmt.Errorf("SCHEMA_TEMPLATE: %s: %s: %w", path, id, err)
		}
		for _, definition := range properties.ContainerDefinitions {
			var name struct{ Name any } // any other container may have an intrinsic function anywhere
			if json.Unmarshal(definition, &name) != nil || name.Name != "mysql" {
				continue
			}
			var c container
			if err := json.Unmarshal(definition, &c); err != nil {
				return nil, fmt.Errorf("SCHEMA_TEMPLATE: %s: %s: container mysql: %w", path, id, err)
			}
			if len(c.Command) == 0 {
				return nil, fmt.Errorf("SCHEMA_TEMPLATE: %s: %s: container mysql has no Command", path, id)
			}
			return &c, nil
		}
	}
	return nil, fmt.Errorf("SCHEMA_TEMPLATE: %s: no AWS::ECS::TaskDefinition has a container named mysql", path)
}

// environment returns what ECS would set: each name that the container definition lists, with the test's value if it
// has one, else the template's literal. A value for a name that the template lacks does not reach the command.
func (c *container) environment(values map[string]string) []string {
	var env []string
	for _, e := range c.Environment {
		if v, ok := values[e.Name]; ok {
			env = append(env, e.Name+"="+v)
		} else if v, ok := e.Value.(string); ok {
			env = append(env, e.Name+"="+v)
		}
	}
	for _, s := range c.Secrets {
		if v, ok := values[s.Name]; ok {
			env = append(env, s.Name+"="+v)
		}
	}
	return env
}

// imageTools are the programs of the mysql image that the command may use, beside its shell.
var imageTools = []string{"mysql", "cat", "date", "mkfifo", "mktemp", "mv", "rm", "sha256sum", "sleep"}

// makePath returns a directory with the image's tools only, and shell as its sh.
func makePath(dir, shell string) (string, error) {
	bin := filepath.Join(dir, shell)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	links := map[string]string{"sh": shell}
	for _, tool := range imageTools {
		links[tool] = tool
	}
	for name, tool := range links {
		path, err := exec.LookPath(tool)
		if err != nil {
			return "", err
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			return "", err
		}
	}
	return bin, nil
}

// database is a database and its user on a server, and a schema directory: what one task is given.
type database struct {
	t        *testing.T
	variant  variant
	server   *server
	name     string
	user     string
	password string
	dir      string
	env      map[string]string // overrides what run sets
}

// newDatabase makes an empty database on s, with a user of the given password, and a schema directory with the
// variant's own files.
func newDatabase(t *testing.T, v variant, s *server, password string) *database {
	t.Helper()
	suffix := strings.ToLower(rand.Text()[:12])
	d := &database{t: t, variant: v, server: s, name: "db_" + suffix, user: "user_" + suffix, password: password, dir: t.TempDir(), env: map[string]string{}}
	d.exec("CREATE DATABASE " + d.name)
	t.Cleanup(func() { d.exec("DROP DATABASE " + d.name) })
	d.exec("CREATE USER " + d.user + "@'%' IDENTIFIED BY '" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'")
	t.Cleanup(func() { d.exec("DROP USER " + d.user + "@'%'") })
	d.exec("GRANT ALL ON " + d.name + ".* TO " + d.user + "@'%'")
	d.writeFile("rds-ca-bundle.pem", string(trusted.pem))
	for name, text := range v.files {
		d.write(name, text)
	}
	return d
}

// copyOf returns d with a schema directory of its own, with the same files: a second task.
func (d *database) copyOf() *database {
	d.t.Helper()
	other := *d
	other.env = maps.Clone(d.env)
	other.dir = d.t.TempDir()
	if err := os.CopyFS(filepath.Join(other.dir, "sql"), os.DirFS(filepath.Join(d.dir, "sql"))); err != nil {
		d.t.Fatal(err)
	}
	other.writeFile("rds-ca-bundle.pem", string(trusted.pem))
	return &other
}

func (d *database) write(name, text string) {
	d.t.Helper()
	d.writeFile("sql/"+name, text)
}

func (d *database) writeFile(name, text string) {
	d.t.Helper()
	path := filepath.Join(d.dir, filepath.FromSlash(name))
	if err := cmp.Or(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *database) exec(statement string) {
	d.t.Helper()
	if _, err := d.server.admin.Exec(statement); err != nil {
		d.t.Fatalf("%s: %v", statement, err)
	}
}

// value returns the one value of a query, which names tables with their database; "" for NULL or no row.
func (d *database) value(query string, args ...any) string {
	d.t.Helper()
	var v sql.NullString
	if err := d.server.admin.QueryRow(query, args...).Scan(&v); err != nil && err != sql.ErrNoRows {
		d.t.Fatalf("%s: %v", query, err)
	}
	return v.String
}

func (d *database) hasTable(name string) bool {
	d.t.Helper()
	return d.value("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", d.name, name) == "1"
}

// ledger returns the recorded checksums by file name.
func (d *database) ledger() map[string]string {
	d.t.Helper()
	if !d.hasTable("schema_ledger") {
		return map[string]string{}
	}
	rows, err := d.server.admin.Query("SELECT file_name, sha256 FROM " + d.name + ".schema_ledger")
	if err != nil {
		d.t.Fatal(err)
	}
	defer rows.Close()
	ledger := map[string]string{}
	for rows.Next() {
		var name, sum string
		if err := rows.Scan(&name, &sum); err != nil {
			d.t.Fatal(err)
		}
		ledger[name] = sum
	}
	if err := rows.Err(); err != nil {
		d.t.Fatal(err)
	}
	return ledger
}

// wantLedger fails unless the ledger has the variant's own files and names, each with its file's present checksum.
func (d *database) wantLedger(names ...string) {
	d.t.Helper()
	want := map[string]string{}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(d.variant.files)), names) {
		text, err := os.ReadFile(filepath.Join(d.dir, "sql", name))
		if err != nil {
			d.t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		want[name] = hex.EncodeToString(sum[:])
	}
	if got := d.ledger(); !maps.Equal(got, want) {
		d.t.Errorf("ledger is %v, want %v", got, want)
	}
}

// until polls query until it returns something.
func (d *database) until(query string, args ...any) string {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if v := d.value(query, args...); v != "" {
			return v
		}
	}
	d.t.Fatalf("nothing after 20 s: %s", query)
	return ""
}

// lockHolder waits until a task holds the lock, and returns the lock's session.
func (d *database) lockHolder() string {
	d.t.Helper()
	return d.until("SELECT IS_USED_LOCK(CONCAT('schema:', SHA2(?, 224)))", d.name)
}

// session waits until a session of the user runs a statement like pattern, and returns its connection id.
func (d *database) session(pattern string) string {
	d.t.Helper()
	return d.until("SELECT MAX(id) FROM information_schema.processlist WHERE user = ? AND info LIKE ?", d.user, pattern)
}

// gate holds a lock of its own, so that a statement of the returned text waits until open is called.
func (d *database) gate() (statement string, open func()) {
	d.t.Helper()
	conn, err := d.server.admin.Conn(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	lock := "'gate_" + d.name + "'"
	if _, err := conn.ExecContext(d.t.Context(), "DO GET_LOCK("+lock+", 0)"); err != nil {
		d.t.Fatal(err)
	}
	open = sync.OnceFunc(func() {
		conn.ExecContext(context.Background(), "DO RELEASE_LOCK("+lock+")")
		conn.Close()
	})
	d.t.Cleanup(open)
	return "DO GET_LOCK(" + lock + ", 30);\n", open
}

// task is a running command.
type task struct {
	d       *database
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	started time.Time
	output  syncBuffer
}

// result is what a task left.
type result struct {
	t      *testing.T
	code   int
	output string
	took   time.Duration
}

// start runs the template's command as ECS would, with the image's tools only.
func (d *database) start() *task {
	d.t.Helper()
	values := map[string]string{
		"DATABASE_HOST":     "127.0.0.1",
		"DATABASE_DB_NAME":  d.name,
		"DATABASE_USER":     d.user,
		"DATABASE_PASSWORD": d.password,
		"SCHEMA_DIR":        d.dir,
	}
	maps.Copy(values, d.env)
	env := append(schemaContainer.environment(values), "PATH="+d.variant.path)
	for _, name := range []string{"DATABASE_PORT", "DATABASE_WAIT_SECONDS", "SCHEMA_LOCK_WAIT_SECONDS"} { // what the template leaves at its default
		if v, ok := d.env[name]; ok {
			env = append(env, name+"="+v)
		} else if name == "DATABASE_PORT" {
			env = append(env, name+"="+strconv.Itoa(d.server.port))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	p := &task{d: d, cancel: cancel, started: time.Now()}
	p.cmd = exec.CommandContext(ctx, filepath.Join(d.variant.path, schemaContainer.Command[0]), schemaContainer.Command[1:]...)
	p.cmd.Args[0] = schemaContainer.Command[0]
	p.cmd.Env, p.cmd.Dir = env, "/"
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { p.cmd.Cancel() })
	return p
}

// wait waits for the task's end. Whatever the case, it leaves no process, no scratch file, and no trace of the password.
func (p *task) wait() result {
	t := p.d.t
	t.Helper()
	err := p.cmd.Wait()
	took := time.Since(p.started)
	p.cancel()
	r := result{t, p.cmd.ProcessState.ExitCode(), p.output.String(), took}
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Errorf("the task did not end well: %v\n%s", err, r.output)
	}
	if left := groupMembers(p.cmd.Process.Pid); len(left) > 0 {
		t.Errorf("processes left behind: %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(p.d.dir, ".*")); len(left) > 0 {
		t.Errorf("scratch files left behind: %v", left)
	}
	for _, password := range []string{p.d.password, p.d.env["DATABASE_PASSWORD"]} {
		if password != "" && strings.Contains(r.output, password) {
			t.Errorf("the output holds the password:\n%s", r.output)
		}
	}
	return r
}

func (d *database) run() result {
	d.t.Helper()
	return d.start().wait()
}

// wantSuccess fails unless the task ended well and said each of the texts.
func (r result) wantSuccess(texts ...string) {
	r.t.Helper()
	r.wantExit(0, texts...)
}

// wantFailure fails unless the task ended with exit code 1 and said each of the texts.
func (r result) wantFailure(texts ...string) {
	r.t.Helper()
	r.wantExit(1, texts...)
}

func (r result) wantExit(code int, texts ...string) {
	r.t.Helper()
	if r.code != code {
		r.t.Fatalf("exit code %d, want %d:\n%s", r.code, code, r.output)
	}
	for _, text := range texts {
		if !strings.Contains(r.output, text) {
			r.t.Errorf("the output lacks %q:\n%s", text, r.output)
		}
	}
}

// untilOutput waits until the task has printed text.
func (p *task) untilOutput(text string) {
	t := p.d.t
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(p.output.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q after 20 s:\n%s", text, p.output.String())
		}
	}
}

// groupMembers returns the command lines of the living processes of a process group.
func groupMembers(group int) []string {
	var members []string
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp; the name may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if fields[2] == strconv.Itoa(group) && fields[0] != "Z" {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			members = append(members, string(line))
		}
	}
	return members
}

// syncBuffer is a buffer that may be read while a process writes to it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
