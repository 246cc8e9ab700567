package main

import (
	"errors"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed      = 1 // it did not work
	exitUsage       = 2 // wrong command, flag or argument
	exitUnreachable = 3 // no server answers
	exitRefused     = 4 // the server refuses
	exitDifferent   = 5 // a verification found something
)

// usage is a mistake in how the program was called.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// errDifferent ends a verification that found differences.
var errDifferent = errors.New("read models are not what the log says; rebuild the group (docket projections rebuild)")

// errDamaged ends a verification of the log itself.
var errDamaged = errors.New("the event store is damaged; restore a backup")

// errNoCopy ends a transfer whose two sides differ.
var errNoCopy = errors.New("the target is not a copy of the source")

func exitCode(err error) int {
	var wrong usage
	var away *client.Unreachable
	var refused *client.Refused
	switch {
	case errors.As(err, &wrong):
		return exitUsage
	case errors.As(err, &away):
		return exitUnreachable
	case errors.As(err, &refused):
		return exitRefused
	case errors.Is(err, errDifferent), errors.Is(err, errDamaged), errors.Is(err, errNoCopy):
		return exitDifferent
	}
	return exitFailed
}

// strict makes mistakes in the call of a command, and of those below it, usage
// errors.
func strict(c *cobra.Command) *cobra.Command {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage{err}
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.Run == nil && c.RunE == nil {
		// Cobra shows the help of a command that does nothing by itself, whatever
		// was misspelt below it.
		c.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage{errors.New("unknown command " + args[0] + " for " + cmd.CommandPath())}
			}
			return nil
		}
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, below := range c.Commands() {
		strict(below)
	}
	return c
}
