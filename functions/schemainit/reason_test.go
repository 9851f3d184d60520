package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestRedaction(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"identified by":               {`CREATE USER 'app'@'%' IDENTIFIED BY 'hunter2' REQUIRE SSL`, `CREATE USER 'app'@'%' IDENTIFIED BY '***' REQUIRE SSL`},
		"identified by, double quote": {`alter user app identified by "hunter2";`, `alter user app identified by '***';`},
		"identified with":             {`IDENTIFIED WITH mysql_native_password BY 'hunter2'`, `IDENTIFIED WITH mysql_native_password BY '***'`},
		"identified as hash":          {`IDENTIFIED WITH 'caching_sha2_password' AS '$A$hunter2'`, `IDENTIFIED WITH 'caching_sha2_password' AS '***'`},
		"identified by password":      {`IDENTIFIED BY PASSWORD '*hunter2'`, `IDENTIFIED BY PASSWORD '***'`},
		"identified over lines":       {"IDENTIFIED\n  BY\n  'hunter2'", "IDENTIFIED\n  BY\n  '***'"},
		"identified without quotes":   {`IDENTIFIED BY hunter2;`, `IDENTIFIED BY '***';`},
		"a quote in the password":     {`IDENTIFIED BY 'hun''ter\'2' ACCOUNT LOCK`, `IDENTIFIED BY '***' ACCOUNT LOCK`},
		"an open quote":               {`IDENTIFIED BY 'hunter2 and more`, `IDENTIFIED BY '***'`},
		"the former password":         {`IDENTIFIED BY 'hunter2' REPLACE 'hunter1'`, `IDENTIFIED BY '***' REPLACE '***'`},
		"password function":           {`SELECT PASSWORD('hunter2')`, `SELECT PASSWORD('***')`},
		"old password function":       {`OLD_PASSWORD( "hunter2" )`, `OLD_PASSWORD( '***' )`},
		"set password":                {`SET PASSWORD = 'hunter2'`, `SET PASSWORD = '***'`},
		"set password for":            {`SET PASSWORD FOR 'app'@'%' = 'hunter2';`, `SET PASSWORD FOR 'app'@'%' = '***';`},
		"set password by function":    {`SET PASSWORD FOR app = PASSWORD('hunter2')`, `SET PASSWORD FOR app = '***')`},
		"replication":                 {`CHANGE MASTER TO MASTER_USER='r', MASTER_PASSWORD='hunter2', MASTER_PORT=3306`, `CHANGE MASTER TO MASTER_USER='r', MASTER_PASSWORD='***', MASTER_PORT=3306`},
		"a setting":                   {`password=hunter2 host=db`, `password='***' host=db`},
		"an option":                   {`mysql --password=hunter2 -h db`, `mysql --password='***' -h db`},
		"an environment variable":     {`MYSQL_PWD=hunter2`, `MYSQL_PWD='***'`},
		"JSON":                        {`{"username":"app","password":"hunter2","port":3306}`, `{"username":"app","password":'***',"port":3306}`},
		"a URL":                       {`mysql://app:hunter2@db:3306/app`, `mysql://app:'***'@db:3306/app`},
		"a syntax error after the context": {
			`ERROR 1064 (42000) at line 3: You have an error in your SQL syntax; check the manual for the right syntax to use near ''hunter2' EXPIRE' at line 1`,
			`ERROR 1064 (42000) at line 3: You have an error in your SQL syntax; check the manual for the right syntax to use near ''***' EXPIRE' at line 1`},
		"a syntax error with the context": {`near 'IDENTIFED BY 'hunter2'' at line 1`, `near 'IDENTIFED BY '***'' at line 1`},
		"a syntax error cut within":       {`near 'IDENTIFIED BY 'hunter2 is long' at line 1`, `near 'IDENTIFIED BY '***'' at line 1`},
		"a syntax error over lines":       {"near 'VALUES ('a',\n 'hunter2')' at line 12", "near 'VALUES ('***',\n '***')' at line 12"},

		"kept: access denied":   {`Access denied for user 'app'@'10.0.1.7' (using password: YES)`, ``},
		"kept: a column":        {`CREATE TABLE users (password VARCHAR(255) NOT NULL)`, ``},
		"kept: a secret's name": {`unable to retrieve secret arn:aws:secretsmanager:eu-central-1:111122223333:secret:db-password-Ab: AccessDenied`, ``},
		"kept: a missing table": {`ERROR 1146 (42S02) at line 3: Table 'app.nope' doesn't exist`, ``},
		"kept: a port":          {`https://registry.example:5000/v2/`, ``},
		"kept: a replace":       {`REPLACE INTO t VALUES (1)`, ``},
		"kept: a syntax error":  {`near 'CREAT TABLE x (id INT)' at line 1`, ``},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := test.want
			if want == "" {
				want = test.text
			}
			if got := safe(test.text); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestCleaning(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"colours":              {"\x1b[1;31mERROR\x1b[0m", "ERROR"},
		"a window title":       {"\x1b]0;title\x07text", "text"},
		"a split context":      {"IDENT\x1b[0mIFIED BY 'hunter2'", "IDENTIFIED BY '***'"},
		"control characters":   {"a\x00b\x08c\u0085d", "abcd"},
		"carriage returns":     {"a\r\nb\rc", "a\nb\nc"},
		"tabs":                 {"a\tb", "a b"},
		"reordered characters": {"a\u202eb", "ab"},
		"broken UTF-8":         {"a\xffb", "a\uFFFDb"},
		"other scripts":        {"ошибка 失敗", "ошибка 失敗"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := safe(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTruncate(t *testing.T) {
	tests := []struct {
		text  string
		limit int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abc…"},
		{"äöüäöü", 9, "äöü…"},
		{"äöüäöü", 8, "äö…"},
		{`""""""`, 9, `"""…`},
		{"\x01\x01", 8, "…"},
		{"abc", 2, ""},
		{"<<<<&&", 6, "<<<<&&"},
	}
	for _, test := range tests {
		if got := truncate(test.text, test.limit); got != test.want {
			t.Errorf("truncate(%q, %d) = %q, want %q", test.text, test.limit, got, test.want)
		}
	}
}

func TestTheOldestLogLinesAreCutFirst(t *testing.T) {
	lines := make([]string, 20)
	for i := range lines {
		lines[i] = fmt.Sprintf("%02d %s", i, strings.Repeat(`"`, 100))
	}
	text := withTail("head", lines)
	wantParts(t, text, "head\n11 ", "\n19 ")
	if strings.Contains(text, "\n10 ") {
		t.Error("line 10 does not fit, but is there")
	}
	if n := jsonLen(text); n > maxReason || n < maxReason-210 {
		t.Errorf("%d bytes of JSON, want the most whole lines in %d", n, maxReason)
	}
}

func TestAnOverlongNewestLineIsCutAtItsEnd(t *testing.T) {
	text := withTail("head", []string{"older", "ERROR 1064 " + strings.Repeat("失", 5000)})
	wantParts(t, text, "head\nERROR 1064 失", "…")
	if n := jsonLen(text); n > maxReason || n < maxReason-3 {
		t.Errorf("%d bytes of JSON, want %d", n, maxReason)
	}
}

// TestAReasonFitsTheFrameworksResponse is about the 4096 bytes that operate checks for every answer.
func TestAReasonFitsTheFrameworksResponse(t *testing.T) {
	worst := map[string]string{
		"quotes":      strings.Repeat(`"\`, 2000),
		"controls":    strings.Repeat("\x02\n", 3000),
		"separators":  strings.Repeat("\u2028", 3000),
		"HTML":        strings.Repeat("<&>", 2000),
		"wide":        strings.Repeat("失", 3000),
		"not UTF-8":   strings.Repeat("\xff", 3000),
		"quoted text": strings.Repeat("IDENTIFIED BY 'x' ", 400),
	}
	for name, text := range worst {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failed := ran("mysql", 1)
				failed.Reason = aws.String("of the container: " + text)
				c := &cloud{
					task: after(0, stopped(types.TaskStopCodeEssentialContainerExited, "why: "+text, ran("fetch", 0), failed)),
					logs: logOf(mysqlStream, text, text, "the last line"),
				}
				e := create()
				e["LogicalResourceId"] = strings.Repeat("L", 255)
				a := operate(t, c, e) // checks the size
				wantParts(t, a.Reason, "container mysql ended with exit code 1", "EssentialContainerExited", "Container reason: of", taskARN, mysqlStream, "the last line", "Logs: /aws/lambda/", "cfn-response.js")

				c.task = func(time.Duration) (*types.Task, error) { return nil, errors.New("API: " + text) }
				wantParts(t, operate(t, c, e).Reason, "read the state of the schema task", "API: ")

				e["ResourceProperties"] = propertiesWith(text, text)
				wantParts(t, operate(t, c, e).Reason, "properties of Custom::SchemaInit")
			})
		})
	}
}

func FuzzWithTail(f *testing.F) {
	f.Add("Schema task failed", "IDENTIFIED BY 'hunter2'\nnear ''x'' at line 1")
	f.Add("\x1b[31m\xff", strings.Repeat("\"\u2028", 900))
	f.Add(strings.Repeat("h", 1990), "password='")
	f.Fuzz(func(t *testing.T, head, log string) {
		text := withTail(head, strings.SplitAfter(log, "\n"))
		if n := jsonLen(text); n > maxReason {
			t.Errorf("%d bytes of JSON", n)
		}
		if !utf8.ValidString(text) {
			t.Error("not UTF-8")
		}
		if strings.ContainsAny(text, "\x00\x07\x1b\r\t\x7f") {
			t.Errorf("control characters in %q", text)
		}
	})
}
