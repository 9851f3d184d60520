package change

import "testing"

func TestProgram(t *testing.T) {
	for name, test := range map[string]struct{ line, want string }{
		"refuses_an_answer_that_is_no_json":   {"oops", "compare templates by dir: its answer: invalid character 'o' looking for beginning of value; run `make clean templatediff`"},
		"refuses_an_answer_for_one_pair_only": {"[{}]", "compare templates by dir: its answer: 1 results for 2 pairs; run `make clean templatediff`"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := (&Program{Dir: "dir"}).answer([]byte(test.line), 2); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
