package main

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// digest returns the n-th of a series of digests.
func digest(n int) string {
	sum := sha256.Sum256([]byte{byte(n)})
	return "h1:" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestStampKeepsTheNewest(t *testing.T) {
	s := stamp(filepath.Join(t.TempDir(), "stamp"))
	for i := range stampSize + 5 {
		if err := s.add(digest(i)); err != nil {
			t.Fatal(err)
		}
		if i == 10 || i == 15 { // the first becomes the newest again, twice
			if err := s.add(digest(0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	digests := s.digests()
	slices.Sort(digests)
	if n := len(slices.Compact(digests)); n != stampSize {
		t.Errorf("%d different digests, want %d", n, stampSize)
	}
	for i, want := range map[int]bool{stampSize + 4: true, 6: true, 0: true, 5: false, 1: false} {
		if s.has(digest(i)) != want {
			t.Errorf("has(digest %d) = %v, want %v", i, !want, want)
		}
	}
}

func TestStampIsWholeAtEveryMoment(t *testing.T) {
	s := stamp(filepath.Join(t.TempDir(), "stamp"))
	for i := range stampSize {
		if err := s.add(digest(i)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	var writers, reader sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 50 {
				if err := s.add(digest(w*50 + i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			data, err := os.ReadFile(string(s))
			if err != nil || len(data) != stampSize*(len(digest(0))+1) || len(s.digests()) != stampSize {
				t.Errorf("%v; read %d bytes: %q", err, len(data), data)
				return
			}
		}
	})
	writers.Wait()
	close(done)
	reader.Wait()
}
