package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"vbp/specs"
)

// Exit codes.
const (
	exitDone        = 0
	exitNothing     = 1   // nothing usable came out
	exitUsage       = 2   // bad spec, input or plan
	exitTodo        = 3   // plan --detailed-exitcode: there is something to do
	exitPartial     = 5   // some points or steps have no usable result
	exitInterrupted = 130 // as shells say of Ctrl-C
)

// exitError carries an exit code; without Err there is nothing left to say.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

// bad marks an error of the spec, the input or the plan.
func bad(err error) error {
	if err == nil {
		return nil
	}
	return exitError{exitUsage, err}
}

// exitCode says how the process ends, and whether the error has been told.
func exitCode(ctx context.Context, err error) (code int, quiet bool) {
	var e exitError
	if errors.As(err, &e) {
		return e.code, e.err == nil
	}
	if ctx.Err() != nil {
		return exitInterrupted, errors.Is(err, context.Canceled)
	}
	var se specs.Errors
	if isUsage(err) || errors.As(err, &se) {
		return exitUsage, false
	}
	return exitNothing, false
}

// exactly wants n arguments and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("expected %s, got %d arguments", what, len(args))}
		}
		return nil
	}
}

// none wants no arguments.
func none(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}
