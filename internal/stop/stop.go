// Package stop holds the error of a program that stopped something, or whose action failed. Any other error means that the program
// could not tell, or was called wrongly.
package stop

import "fmt"

// Error is such an error.
type Error struct{ Cause error }

func (e Error) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e Error) Unwrap() error { return e.Cause }

// Errorf returns an [Error]. Format and args are those of [fmt.Errorf].
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }
