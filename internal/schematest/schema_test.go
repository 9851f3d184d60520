//go:build schematest

// Package schematest runs the schema task's own command, taken out of a synthesized template, against real MariaDB
// servers. Its tests need the build tag schematest, the Debian packages mariadb-server-core and mariadb-client-core, and
//
//	SCHEMA_TEMPLATE   absolute path of the template that has the task definition with the container named mysql
//
// The client here is MariaDB's; what only MySQL's own client can show is in docs/schema.md.
package schematest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soon is how long an ended run may take. It takes one second; a busy machine several, and ECS waits for 20.
const soon = 10 * time.Second

var (
	schemaContainer *container
	trusted         *authority // signed the certificate of withTLS
	stranger        *authority
	withTLS         *server
	withoutTLS      *server
	variants        []variant
)

// variant is a shell, and the files that each case starts from. Each case adds files that sort before init.sql (000_) or
// after it (901_ …).
type variant struct {
	name  string
	path  string            // the PATH of the task
	files map[string]string // always with an init.sql
	table string            // one that init.sql makes
}

func TestMain(m *testing.M) {
	code, err := runMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "schematest:", err)
		code = 1
	}
	os.Exit(code)
}

func runMain(m *testing.M) (code int, err error) {
	if schemaContainer, err = readContainer(os.Getenv("SCHEMA_TEMPLATE")); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "schematest")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if variants, err = makeVariants(dir); err != nil {
		return 0, err
	}
	var err2 error
	trusted, err = newAuthority()
	stranger, err2 = newAuthority()
	if err := cmp.Or(err, err2); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, s := range map[string]struct {
		server **server
		ca     *authority
	}{"tls": {&withTLS, trusted}, "plain": {&withoutTLS, nil}} {
		serverDir := filepath.Join(dir, name)
		if err := os.Mkdir(serverDir, 0o755); err != nil {
			return 0, err
		}
		if *s.server, err = startServer(ctx, serverDir, s.ca); err != nil {
			return 0, err
		}
		defer (*s.server).stop()
	}
	return m.Run(), nil
}

// makeVariants returns the two shells that an image may have as sh: dash with a small schema, bash in POSIX mode (the
// mysql image's) with the repository's own files.
func makeVariants(dir string) ([]variant, error) {
	dash, err1 := makePath(dir, "dash")
	bash, err2 := makePath(dir, "bash")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	own := map[string]string{}
	paths, err := filepath.Glob("../../sql/*.sql")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		own[filepath.Base(path)] = string(text)
	}
	if own["init.sql"] == "" {
		return nil, errors.New("sql/init.sql is missing or empty")
	}
	small := map[string]string{"init.sql": "CREATE TABLE IF NOT EXISTS base (id INT PRIMARY KEY);\n"}
	return []variant{
		{"dash", dash, small, "base"},
		{"bash_with_the_repository's_files", bash, own, "employee"},
	}, nil
}

func TestSchemaTask(t *testing.T) {
	cases := []struct {
		name string
		test func(*testing.T, *database)
	}{
		{"applies_init.sql_first_then_in_name_order", testOrder},
		{"is_harmless_when_repeated", testRepeated},
		{"stops_at_the_first_error_with_file_and_line_and_goes_on_after_the_fix", testSyntaxError},
		{"applies_each_file_once_when_two_run_at_the_same_time", testConcurrent},
		{"gives_up_when_the_lock_stays_taken", testLockTaken},
		{"stops_when_the_lock's_session_is_killed", testLockLost},
		{"refuses_a_changed_old_file", testChangedFile},
		{"applies_a_changed_init.sql_again_and_the_older_one_on_rollback", testChangedInit},
		{"ignores_records_without_a_file", testMissingFile},
		{"refuses_odd_file_names", testOddName},
		{"refuses_a_directory_without_SQL", testNoFiles},
		{"names_what_is_not_set", testNotSet},
		{"commits_a_transaction_that_a_file_left_open", testOpenTransaction},
		{"refuses_what_has_no_end", testUnfinished},
		{"takes_routines_comments_and_a_last_line_without_end", testSpecialText},
		{"does_not_go_on_in_a_new_session_when_the_connection_is_lost", testConnectionLost},
		{"refuses_a_certificate_of_another_authority", testWrongCA},
		{"refuses_a_certificate_for_another_host", testWrongHost},
		{"refuses_a_server_without_TLS", testNoTLS},
		{"fails_soon_on_a_wrong_password", testWrongPassword},
		{"fails_soon_on_a_missing_database", testMissingDatabase},
		{"waits_for_a_database_that_comes_up_late", testLate},
		{"gives_up_on_a_database_that_never_comes_up", testNeverUp},
		{"keeps_the_password_out_of_command_lines_output_and_readable_files", testPasswordHidden},
		{"ends_soon_on_TERM_while_a_file_runs", testTermWhileApplying},
		{"ends_soon_on_TERM_while_it_waits_for_the_lock", testTermWhileLocking},
		{"ends_soon_on_TERM_while_it_waits_for_the_database", testTermWhileConnecting},
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.test(t, newDatabase(t, v, withTLS, "Simple-Passw0rd"))
				})
			}
		})
	}
}

// Every character that an RDS password can have, and those it cannot, at every place where a quote could go wrong.
func TestSchemaTask_takes_any_printable_password(t *testing.T) {
	passwords := []string{
		`# starts no comment`,
		`"in quotes"`,
		`'in quotes'`,
		`half"quoted#and more`,
		`half'quoted#and more`,
		`ends in a backslash\`,
		`\n\t\s\b\\ are no escapes`,
		` spaces around `,
		"$(id) `id` $HOME ${HOME} %s %d *?[a-z] !! ; & | < > ~ = : , . + - _ ^ ( ) { } / @",
		`[password]`,
		`contraseña-пароль-密码`,
	}
	for _, v := range variants {
		for i, password := range passwords {
			t.Run(fmt.Sprintf("%s/%d", v.name, i), func(t *testing.T) {
				t.Parallel()
				d := newDatabase(t, v, withTLS, password)
				if password == `[password]` { // what the password's value is replaced by
					d.run().wantSuccess()
					return
				}
				d.write("901_quotes_it.sql", "SELECT '"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)+"';\n")
				d.run().wantSuccess("[password]")
				d.wantLedger("901_quotes_it.sql")
			})
		}
	}
}

func testOrder(t *testing.T, d *database) {
	started := time.Now()
	d.write("000_needs_init.sql", "SELECT CONCAT('rows ', COUNT(*)) FROM "+d.variant.table+";\nCREATE TABLE first (id INT);\n")
	d.write("901_needs_000.sql", "ALTER TABLE first ADD COLUMN b INT;\n")
	d.write("9010_needs_901.sql", "ALTER TABLE first ADD COLUMN c INT;\n")
	r := d.run()
	r.wantSuccess("init.sql: applied in ", "000_needs_init.sql: rows 0\n", "000_needs_init.sql: applied in ", "901_needs_000.sql: applied in ",
		fmt.Sprintf("schema: %d files, %[1]d applied, 0 already applied\n", len(d.variant.files)+3))
	d.wantLedger("000_needs_init.sql", "901_needs_000.sql", "9010_needs_901.sql")
	if got := regexp.MustCompile(`(?m)^(\S+): applied`).FindStringSubmatch(r.output); got[1] != "init.sql" {
		t.Errorf("%s was the first file, want init.sql", got[1])
	}
	at, err := time.Parse(time.DateTime, d.value("SELECT MIN(applied_at) FROM "+d.name+".schema_ledger"))
	if err != nil || at.Before(started.Add(-2*time.Second).UTC()) || at.After(time.Now().UTC()) {
		t.Errorf("applied_at is %v (%v), want UTC now", at, err)
	}
	for _, line := range strings.Split(r.output, "\n") {
		if strings.Contains(strings.ToLower(line), "warning") {
			t.Errorf("the output has a warning: %s", line)
		}
	}
}

func testRepeated(t *testing.T, d *database) {
	d.write("901_not_repeatable.sql", "CREATE TABLE once (id INT);\n")
	d.run().wantSuccess("901_not_repeatable.sql: applied in ")
	d.run().wantSuccess("init.sql: already applied", "901_not_repeatable.sql: already applied",
		fmt.Sprintf("schema: %d files, 0 applied, %[1]d already applied\n", len(d.variant.files)+1))
	d.wantLedger("901_not_repeatable.sql")
}

func testSyntaxError(t *testing.T, d *database) {
	d.write("901_good.sql", "CREATE TABLE good (id INT);\n")
	d.write("902_broken.sql", "-- a comment\nCREATE TABLE broken (id INT);\nCREATE TABEL broken2 (id INT);\nCREATE TABLE broken3 (id INT);\n")
	d.write("903_later.sql", "CREATE TABLE later (id INT);\n")
	d.run().wantFailure("901_good.sql: applied in ", "902_broken.sql: ERROR 1064 (42000) at line 3", "schema: 902_broken.sql failed")
	d.wantLedger("901_good.sql")
	if d.hasTable("broken3") || d.hasTable("later") {
		t.Error("statements after the error were run")
	}
	d.write("902_broken.sql", "DROP TABLE IF EXISTS broken;\n\nCREATE TABLE\n  broken (id INT);\n")
	d.run().wantSuccess("901_good.sql: already applied", "902_broken.sql: applied in ", "903_later.sql: applied in ")
	d.wantLedger("901_good.sql", "902_broken.sql", "903_later.sql")
}

func testConcurrent(t *testing.T, d *database) {
	statement, open := d.gate()
	d.write("901_once.sql", statement+"CREATE TABLE once (id INT);\n")
	d.write("902_once.sql", "CREATE TABLE once2 (id INT);\n")
	first := d.start()
	d.session("DO GET_LOCK('gate%")
	second := d.copyOf().start()
	second.untilOutput("another run holds the lock")
	d.session("%GET_LOCK(CONCAT('schema:'%")
	open()
	a, b := first.wait(), second.wait()
	a.wantSuccess()
	b.wantSuccess()
	for _, file := range []string{"init.sql", "901_once.sql", "902_once.sql"} {
		if n := strings.Count(a.output+b.output, file+": applied in "); n != 1 {
			t.Errorf("%s was applied %d times, want once\n%s\n%s", file, n, a.output, b.output)
		}
	}
	d.wantLedger("901_once.sql", "902_once.sql")
}

func testLockTaken(t *testing.T, d *database) {
	statement, _ := d.gate()
	d.write("901_slow.sql", statement)
	second, first := d.copyOf(), d.start()
	d.session("DO GET_LOCK('gate%")
	second.write("000_new.sql", "CREATE TABLE new (id INT);\n")
	second.env["SCHEMA_LOCK_WAIT_SECONDS"] = "1"
	r := second.run()
	r.wantFailure("another run still holds the lock after 1 s, so nothing was applied")
	if r.took > 10*time.Second {
		t.Errorf("it waited %v", r.took)
	}
	if d.hasTable("new") {
		t.Error("a file was applied without the lock")
	}
	first.cmd.Process.Signal(syscall.SIGTERM)
	first.wait()
}

func testLockLost(t *testing.T, d *database) {
	statement, open := d.gate()
	d.write("901_slow.sql", statement)
	d.write("902_later.sql", "CREATE TABLE later (id INT);\n")
	p := d.start()
	d.session("DO GET_LOCK('gate%")
	d.exec("KILL " + d.lockHolder())
	open()
	p.wait().wantFailure("901_slow.sql: applied in ", "the lock was lost", "902_later.sql")
	d.wantLedger("901_slow.sql")
	if d.hasTable("later") {
		t.Error("a file was applied without the lock")
	}
}

func testChangedFile(t *testing.T, d *database) {
	d.write("901_a.sql", "CREATE TABLE a (id INT);\n")
	d.write("902_b.sql", "CREATE TABLE b (id INT);\n")
	d.run().wantSuccess()
	before := d.ledger()
	d.write("901_a.sql", "CREATE TABLE a (id BIGINT);\n")
	d.write("902_b.sql", "CREATE TABLE b (id INT);\n\n")
	d.write("000_new.sql", "CREATE TABLE new (id INT);\n")
	d.run().wantFailure("changed since applied: 901_a.sql 902_b.sql.", "make the change in a new file")
	if d.hasTable("new") {
		t.Error("a file was applied all the same")
	}
	if got := d.ledger(); len(got) != len(before) || got["901_a.sql"] != before["901_a.sql"] {
		t.Errorf("ledger is %v, want it unchanged: %v", got, before)
	}
}

func testChangedInit(t *testing.T, d *database) {
	d.run().wantSuccess()
	older := d.variant.files["init.sql"]
	d.write("init.sql", older+"CREATE TABLE IF NOT EXISTS added (id INT);\n")
	d.run().wantSuccess("init.sql: applied in ")
	d.wantLedger()
	if !d.hasTable("added") {
		t.Error("the changed init.sql was not applied")
	}
	d.write("init.sql", older)
	d.run().wantSuccess("init.sql: applied in ")
	d.wantLedger()
	if !d.hasTable("added") {
		t.Error("the older init.sql took something away")
	}
}

func testMissingFile(t *testing.T, d *database) {
	d.write("901_gone.sql", "CREATE TABLE gone (id INT);\n")
	d.run().wantSuccess()
	if err := os.Remove(filepath.Join(d.dir, "sql/901_gone.sql")); err != nil {
		t.Fatal(err)
	}
	d.run().wantSuccess("0 applied")
	if _, ok := d.ledger()["901_gone.sql"]; !ok {
		t.Error("the record was removed")
	}
}

func testOddName(t *testing.T, d *database) {
	for _, name := range []string{"it's.sql", "two words.sql", "ñ.sql", "a;b.sql", "new\nline.sql", "$(id).sql"} {
		d.write(name, "SELECT 1;\n")
		d.run().wantFailure("sql/"+name, "rename it")
		if err := os.Remove(filepath.Join(d.dir, "sql", name)); err != nil {
			t.Fatal(err)
		}
	}
	d.write("-f.sql", "SELECT 1;\n")
	d.run().wantSuccess("-f.sql: applied in ")
}

func testNoFiles(t *testing.T, d *database) {
	if err := os.RemoveAll(filepath.Join(d.dir, "sql")); err != nil {
		t.Fatal(err)
	}
	d.run().wantFailure("no *.sql")
	d.write("README.md", "no SQL\n")
	d.run().wantFailure("no *.sql")
}

func testNotSet(t *testing.T, d *database) {
	for _, name := range []string{"DATABASE_HOST", "DATABASE_DB_NAME", "DATABASE_USER", "DATABASE_PASSWORD", "SCHEMA_DIR"} {
		e := *d
		e.env = map[string]string{name: ""}
		e.run().wantFailure(name + " is not set")
	}
	e := *d
	e.env = map[string]string{"DATABASE_PORT": "33o6"}
	e.run().wantFailure("'33o6' in DATABASE_PORT")
	e.env = map[string]string{"DATABASE_PASSWORD": "two\nlines"}
	e.run().wantFailure("DATABASE_PASSWORD holds a control character")
	if err := os.Remove(filepath.Join(d.dir, "rds-ca-bundle.pem")); err != nil {
		t.Fatal(err)
	}
	d.run().wantFailure("rds-ca-bundle.pem is missing")
}

func testOpenTransaction(t *testing.T, d *database) {
	d.write("901_open.sql", "CREATE TABLE filled (id INT);\nSTART TRANSACTION;\nINSERT INTO filled VALUES (1);\n")
	d.write("902_open.sql", "SET autocommit = 0;\nINSERT INTO filled VALUES (2);\n")
	d.run().wantSuccess()
	if n := d.value("SELECT COUNT(*) FROM " + d.name + ".filled"); n != "2" {
		t.Errorf("%s rows, want 2", n)
	}
}

func testUnfinished(t *testing.T, d *database) {
	for _, text := range []string{
		"CREATE TABLE a (id INT);\nINSERT INTO a VALUES ('no end);\n",
		"CREATE TABLE IF NOT EXISTS a (id INT);\n/* no end\nCREATE TABLE b (id INT);\n",
		"CREATE TABLE IF NOT EXISTS a (id INT);\nCREATE TABLE b (id INT\n",
	} {
		d.write("901_unfinished.sql", text)
		d.run().wantFailure("901_unfinished.sql: ERROR 1064 (42000) at line 2", "schema: 901_unfinished.sql failed")
		d.wantLedgerWithout("901_unfinished.sql")
	}
}

// wantLedgerWithout fails if name is recorded.
func (d *database) wantLedgerWithout(name string) {
	d.t.Helper()
	if _, ok := d.ledger()[name]; ok {
		d.t.Errorf("%s is recorded", name)
	}
}

func testSpecialText(t *testing.T, d *database) {
	d.write("901_empty.sql", "")
	d.write("902_comments.sql", "-- one\n# two\n/* three\n */\n-- four")
	d.write("903_no_last_semicolon.sql", "CREATE TABLE a (id INT);\nINSERT INTO a VALUES (1)")
	d.write("904_routine.sql", "DELIMITER //\nCREATE PROCEDURE p()\nBEGIN\n  INSERT INTO a VALUES (2);\n  INSERT INTO a VALUES (3);\nEND//\nDELIMITER ;\nCALL p();\n")
	d.write("905_windows.sql", "INSERT INTO a\r\nVALUES (4);\r\n")
	d.write("906_utf8.sql", "CREATE TABLE words (w VARCHAR(20)) DEFAULT CHARACTER SET utf8mb4;\nINSERT INTO words VALUES ('ñandú 🦤');\n")
	d.run().wantSuccess()
	if n := d.value("SELECT COUNT(*) FROM " + d.name + ".a"); n != "4" {
		t.Errorf("%s rows, want 4", n)
	}
	if n := d.value("SELECT CHAR_LENGTH(w) FROM " + d.name + ".words"); n != "7" {
		t.Errorf("%s characters, want 7", n)
	}
}

func testConnectionLost(t *testing.T, d *database) {
	statement, open := d.gate()
	d.write("901_lost.sql", statement+"CREATE TABLE after (id INT);\n")
	p := d.start()
	d.exec("KILL " + d.session("DO GET_LOCK('gate%"))
	p.wait().wantFailure("901_lost.sql: ERROR 2", "at line 1", "schema: 901_lost.sql failed")

	// Between two statements the client would connect again if it were let.
	d.write("901_lost.sql", statement+"\\! sleep 2\nCREATE TABLE after (id INT);\n")
	p = d.start()
	id := d.session("DO GET_LOCK('gate%")
	open()
	d.until("SELECT id FROM information_schema.processlist WHERE id = ? AND command = 'Sleep'", id)
	d.exec("KILL " + id)
	p.wait().wantFailure("901_lost.sql: ERROR 2", "at line 3", "schema: 901_lost.sql failed")

	d.wantLedgerWithout("901_lost.sql")
	if d.hasTable("after") {
		t.Error("the client went on in a new session")
	}
}

// wantRefusal fails unless the task gave up long before the time it may wait, with nothing applied.
func (d *database) wantRefusal(r result, texts ...string) {
	d.t.Helper()
	r.wantFailure(texts...)
	if r.took > 10*time.Second || strings.Contains(r.output, "waiting for") {
		d.t.Errorf("it waited, %v:\n%s", r.took, r.output)
	}
	if d.hasTable(d.variant.table) {
		d.t.Error("something was applied")
	}
}

func testWrongCA(t *testing.T, d *database) {
	d.writeFile("rds-ca-bundle.pem", string(stranger.pem))
	d.wantRefusal(d.run(), "ERROR 2026", "refused user "+d.user+", or TLS with it failed")
}

func testWrongHost(t *testing.T, d *database) {
	l, err := net.Listen("tcp", "127.0.0.2:0") // the certificate is for 127.0.0.1
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go forward(l, d.server.port)
	d.env["DATABASE_HOST"] = "127.0.0.2"
	d.env["DATABASE_PORT"] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	d.wantRefusal(d.run(), "ERROR 2026", "or TLS with it failed")
}

func testNoTLS(t *testing.T, d *database) {
	plain := newDatabase(t, d.variant, withoutTLS, d.password)
	plain.wantRefusal(plain.run(), "ERROR 2026", "or TLS with it failed")
}

func testWrongPassword(t *testing.T, d *database) {
	d.env["DATABASE_PASSWORD"] = "Wrong-Passw0rd"
	d.wantRefusal(d.run(), "ERROR 1045", "refused user "+d.user)
}

func testMissingDatabase(t *testing.T, d *database) {
	d.env["DATABASE_DB_NAME"] = "missing"
	d.wantRefusal(d.run(), "ERROR 1044")
}

func testLate(t *testing.T, d *database) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	d.env["DATABASE_PORT"] = strconv.Itoa(port)
	p := d.start()
	p.untilOutput("waiting for the database at 127.0.0.1:" + strconv.Itoa(port))
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go forward(l, d.server.port)
	p.wait().wantSuccess("init.sql: applied in ")
	d.wantLedger()
}

func testNeverUp(t *testing.T, d *database) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	d.env["DATABASE_PORT"] = strconv.Itoa(port)
	d.env["DATABASE_WAIT_SECONDS"] = "1"
	d.run().wantFailure("could not be reached for 1 s", "security group")
}

func testPasswordHidden(t *testing.T, d *database) {
	statement, open := d.gate()
	d.write("901_slow.sql", statement)
	d.write("902_error.sql", "SELECT 1 FROM '"+d.password+"', '"+d.password+"';\n")
	p := d.start()
	sampled := make(chan string)
	stop := make(chan struct{})
	go func() {
		for {
			paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, path := range paths {
				if line, _ := os.ReadFile(path); strings.Contains(string(line), d.password) {
					sampled <- strings.ReplaceAll(string(line), "\x00", " ")
					return
				}
			}
			select {
			case <-stop:
				sampled <- ""
				return
			default:
			}
		}
	}()
	d.session("DO GET_LOCK('gate%")
	if members := groupMembers(p.cmd.Process.Pid); len(members) < 3 {
		t.Errorf("the sample is too early: %q", members)
	}
	files, _ := filepath.Glob(filepath.Join(d.dir, ".schema.*"))
	inside, _ := filepath.Glob(filepath.Join(d.dir, ".schema.*/*"))
	if len(files) != 1 || len(inside) == 0 {
		t.Errorf("no scratch files in %s", d.dir)
	}
	for _, path := range append(files, inside...) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v: open to others", path, info.Mode(), err)
		}
	}
	open()
	r := p.wait()
	close(stop)
	if line := <-sampled; line != "" {
		t.Errorf("a command line holds the password: %s", line)
	}
	r.wantFailure("902_error.sql: ERROR 1064", "near ''[password]', '[password]''")
}

// wantStop fails unless the task, told to end, ends soon, with nothing left on the server.
func (p *task) wantStop(code int) {
	t, d := p.d.t, p.d
	t.Helper()
	told := time.Now()
	p.cmd.Process.Signal(map[int]syscall.Signal{143: syscall.SIGTERM, 130: syscall.SIGINT}[code])
	p.wait().wantExit(code, "schema: stopped by ")
	if took := time.Since(told); took > soon {
		t.Errorf("it took %v to end", took)
	}
	d.until("SELECT IF(COUNT(*) = 0, 'none', NULL) FROM information_schema.processlist WHERE user = ?", d.user)
	if took := time.Since(told); took > soon {
		t.Errorf("its statements ran on for %v", took)
	}
}

func testTermWhileApplying(t *testing.T, d *database) {
	// A SLEEP alone would only return early when it is killed.
	d.write("901_slow.sql", "SELECT COUNT(*) FROM information_schema.columns WHERE SLEEP(0.1) = 2;\n")
	d.write("902_later.sql", "CREATE TABLE later (id INT);\n")
	for _, code := range []int{143, 130} {
		if code == 130 && signal.Ignored(os.Interrupt) {
			continue // a shell cannot trap what was ignored when it started, as in a background job
		}
		p := d.start()
		d.session("%SLEEP(0.1) = 2%")
		p.wantStop(code)
	}
	d.wantLedger()
	if d.hasTable("later") {
		t.Error("it went on after the signal")
	}
}

func testTermWhileLocking(t *testing.T, d *database) {
	statement, _ := d.gate()
	d.write("901_slow.sql", statement)
	first := d.start()
	d.session("DO GET_LOCK('gate%")
	second := d.copyOf().start()
	waiting := d.session("%GET_LOCK(CONCAT('schema:'%")
	told := time.Now()
	second.cmd.Process.Signal(syscall.SIGTERM)
	second.wait().wantExit(143, "another run holds the lock", "schema: stopped by TERM")
	d.until("SELECT IF(COUNT(*) = 0, 'none', NULL) FROM information_schema.processlist WHERE id = ?", waiting)
	if took := time.Since(told); took > soon {
		t.Errorf("it took %v to end", took)
	}
	first.wantStop(143)
}

func testTermWhileConnecting(t *testing.T, d *database) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	d.env["DATABASE_PORT"] = strconv.Itoa(port)
	p := d.start()
	p.untilOutput("waiting for the database")
	p.wantStop(143)
}
