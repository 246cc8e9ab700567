package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"docket/eventstore/embedded"
	"docket/eventstore/embedded/eventlog"

	"github.com/spf13/cobra"
)

func eventstoreBackup(dir *string) *cobra.Command {
	var unchecked bool
	c := &cobra.Command{
		Use: "backup FOLDER", Short: "Copy the event store, served or not, into a new folder", Args: cobra.ExactArgs(1),
		Long: "Copies everything that was acknowledged before the command began; writers go on meanwhile. The copy is a store " +
			"itself: it is verified, and eventstore stats, verify and serve work on it. Of Docket's data this is the events " +
			"only; docs/operations.md says in which order to save the rest.",
		RunE: func(cmd *cobra.Command, args []string) error {
			target := filepath.Clean(args[0])
			if err := absent(target); err != nil {
				return err
			}
			return staged(target+".partial", func(stage string) error {
				if err := copyStore(cmd, *dir, stage, unchecked); err != nil {
					return err
				}
				return os.Rename(stage, target)
			})
		},
	}
	c.Flags().BoolVar(&unchecked, "no-verify", false, "do not read the copy again")
	return c
}

func eventstoreRestore(dir *string) *cobra.Command {
	var unchecked bool
	c := &cobra.Command{
		Use: "restore FOLDER", Short: "Put a copy of a backup where the event store is to be", Args: cobra.ExactArgs(1),
		Long: "Copies the backup, verifies the copy and moves it to --data, where no event store may be yet.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch exists, err := eventlog.Exists(*dir, nil); {
			case err != nil:
				return err
			case exists:
				return fmt.Errorf("%s holds an event store already; move it away first", *dir)
			}
			if err := os.MkdirAll(filepath.Dir(*dir), 0o700); err != nil {
				return err
			}
			return staged(filepath.Clean(*dir)+".partial", func(stage string) error {
				if err := copyStore(cmd, args[0], stage, unchecked); err != nil {
					return err
				}
				return embedded.Place(stage, *dir)
			})
		},
	}
	c.Flags().BoolVar(&unchecked, "no-verify", false, "do not read the copy before it is put in place")
	return c
}

// absent refuses what is there already.
func absent(path string) error {
	_, err := os.Lstat(path)
	if err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// staged does work in a folder that is gone afterwards, whatever happens.
func staged(stage string, work func(stage string) error) error {
	if err := os.RemoveAll(stage); err != nil { // of a copy that was killed
		return err
	}
	return errors.Join(work(stage), os.RemoveAll(stage))
}

// copyStore copies a store and verifies the copy.
func copyStore(cmd *cobra.Command, from, to string, unchecked bool) error {
	p := newProgress(cmd.ErrOrStderr(), 10*time.Second)
	err := embedded.Backup(cmd.Context(), from, to, func(done, total int64) {
		p.bar(uint64(done), uint64(total), megabytes(uint64(done))+" copied") //nolint:gosec // not negative
	})
	p.end()
	if err != nil || unchecked {
		return err
	}
	return verify(cmd, to)
}
