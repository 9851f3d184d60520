package memo

import "testing"

func TestFuncMakesEachValueOnce(t *testing.T) {
	calls := 0
	length := Func(func(s string) int { calls++; return len(s) })
	for range 3 {
		if a, b := length("one"), length("three"); a != 3 || b != 5 {
			t.Fatalf("got %d and %d, want 3 and 5", a, b)
		}
	}
	if calls != 2 {
		t.Errorf("made %d values for two keys", calls)
	}
}
