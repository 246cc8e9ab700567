package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/eventstore/embedded"
)

var ctx = context.Background()

// server is an embedded event store in memory with a client.
func server(t *testing.T) *client.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "transfer") // a short path
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	s, err := embedded.Open("log", embedded.Options{FS: vfs.NewMem(), SocketDir: dir, NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	c, err := client.NewClient(s.ClientConfig())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func events(n int) []client.EventData {
	data := make([]client.EventData, n)
	for i := range data {
		data[i] = client.EventData{EventID: uuid.New(), EventType: fmt.Sprint("made-", i%3), ContentType: client.ContentTypeJson,
			Data: fmt.Appendf(nil, `{"n":%d}`, rand.IntN(1000)), Metadata: []byte(`{"who":"me"}`)}
		if i%5 == 4 {
			data[i].ContentType, data[i].Data, data[i].Metadata = client.ContentTypeBinary, []byte{0, 1, 0xff}, nil
		}
	}
	return data
}

func write(t *testing.T, c *client.Client, stream string, n int) {
	t.Helper()
	_, err := c.AppendToStream(ctx, stream, client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, events(n)...)
	require.NoError(t, err)
}

// written fills a store with everything a log can hold.
func written(t *testing.T) *client.Client {
	c := server(t)
	for i := range 40 {
		write(t, c, fmt.Sprint("s-", i%7), 1+i%9)
	}
	write(t, c, "long", 1200)
	meta := client.StreamMetadata{}
	meta.SetMaxCount(3)
	_, err := c.SetStreamMetadata(ctx, "s-1", client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, meta)
	require.NoError(t, err)
	_, err = c.DeleteStream(ctx, "s-2", client.DeleteStreamOptions{ExpectedRevision: client.Any{}})
	require.NoError(t, err)
	_, err = c.DeleteStream(ctx, "s-3", client.DeleteStreamOptions{ExpectedRevision: client.Any{}})
	require.NoError(t, err)
	write(t, c, "s-3", 2) // brings it back
	_, err = c.TombstoneStream(ctx, "s-4", client.TombstoneStreamOptions{ExpectedRevision: client.Any{}})
	require.NoError(t, err)
	write(t, c, "$system", 3)
	write(t, c, "s-5", 1)
	return c
}

// requireCopy checks that reads of both give the same.
func requireCopy(t *testing.T, source, target *client.Client) Comparison {
	t.Helper()
	c, err := Compare(ctx, source, target, nil)
	require.NoError(t, err)
	require.Zero(t, c.Later)
	require.Len(t, c.Hash, 64)
	for _, stream := range []string{"s-0", "s-1", "s-2", "s-3", "s-4", "long"} {
		ours, oerr := readStream(source, stream)
		theirs, terr := readStream(target, stream)
		require.Equal(t, codeOf(oerr), codeOf(terr), stream)
		require.Equal(t, ours, theirs, stream)
	}
	return c
}

// readStream reads what can be seen of a stream, as text.
func readStream(c *client.Client, stream string) (out []string, err error) {
	r, err := c.ReadStream(ctx, stream, client.ReadStreamOptions{From: client.Start{}}, 10_000)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		e, err := r.Recv()
		if err != nil {
			return out, err
		}
		out = append(out, fmt.Sprint(e.Event.EventNumber, e.Event.EventID, e.Event.EventType, e.Event.ContentType, string(e.Event.Data), string(e.Event.UserMetadata)))
	}
}

func TestCopyAndBack(t *testing.T) {
	source, there, back := written(t), server(t), server(t)
	first, err := Copy(ctx, source, there, nil)
	require.NoError(t, err)
	require.False(t, first.Resumed)
	require.Greater(t, first.Copied, uint64(1200))
	out := requireCopy(t, source, there)
	_, err = Copy(ctx, there, back, nil)
	require.NoError(t, err)
	require.Equal(t, out, requireCopy(t, source, back))
}

// A copy that broke off anywhere goes on where it was, and one of a source that has grown takes what is new.
func TestCopyGoesOn(t *testing.T) {
	source, target := written(t), server(t)
	broken := errors.New("broken off")
	for stop := uint64(1); ; stop += 97 {
		bounded, cancel := context.WithCancelCause(ctx)
		_, err := Copy(bounded, source, target, func(_, _, events uint64) {
			if events == stop {
				cancel(broken)
			}
		})
		cancel(nil)
		if err == nil {
			break
		}
		require.ErrorIs(t, context.Cause(bounded), broken, "%v", err)
	}
	requireCopy(t, source, target)
	write(t, source, "s-6", 4)
	c, err := Compare(ctx, source, target, nil)
	require.NoError(t, err)
	require.EqualValues(t, 4, c.Later)
	again, err := Copy(ctx, source, target, nil)
	require.NoError(t, err)
	require.Equal(t, Result{Resumed: true, Copied: 4}, again)
	again, err = Copy(ctx, source, target, nil)
	require.NoError(t, err)
	require.Equal(t, Result{Resumed: true}, again, "nothing to do")
	requireCopy(t, source, target)
}

// The newest event of the copy may be out of sight in the source: its stream was cut off, deleted or tombstoned since.
func TestCopyGoesOnBehindHiddenEvents(t *testing.T) {
	for name, hide := range map[string]func(c *client.Client) error{
		"cut off": func(c *client.Client) error {
			meta := client.StreamMetadata{}
			meta.SetTruncateBefore(100)
			_, err := c.SetStreamMetadata(ctx, "a", client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, meta)
			return err
		},
		"deleted": func(c *client.Client) error {
			_, err := c.DeleteStream(ctx, "a", client.DeleteStreamOptions{ExpectedRevision: client.Any{}})
			return err
		},
		"tombstoned": func(c *client.Client) error {
			_, err := c.TombstoneStream(ctx, "a", client.TombstoneStreamOptions{ExpectedRevision: client.Any{}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := server(t), server(t)
			write(t, source, "a", 3)
			_, err := Copy(ctx, source, target, nil)
			require.NoError(t, err)
			require.NoError(t, hide(source))
			write(t, source, "b", 2)
			_, err = Copy(ctx, source, target, nil)
			require.NoError(t, err)
			requireCopy(t, source, target)
		})
	}
}

func TestCopyRefusesAnotherLog(t *testing.T) {
	source, target := written(t), server(t)
	write(t, target, "s-0", 1)
	_, err := Copy(ctx, source, target, nil)
	require.ErrorContains(t, err, "no copy of the source")
	_, err = Compare(ctx, source, target, nil)
	require.ErrorAs(t, err, new(*DifferenceError))
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *client.Client)
		want   string
	}{
		"one more": {func(c *client.Client) {
			_, _ = c.AppendToStream(ctx, "x", client.AppendToStreamOptions{}, events(1)...)
		}, `the target has revision 0 of stream "x"`},
		"metadata": {func(c *client.Client) {
			meta := client.StreamMetadata{}
			meta.SetMaxCount(9)
			_, _ = c.SetStreamMetadata(ctx, "s-1", client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, meta)
		}, `the metadata in stream "$$s-1"`},
		"tombstone": {func(c *client.Client) {
			_, _ = c.TombstoneStream(ctx, "s-6", client.TombstoneStreamOptions{ExpectedRevision: client.Any{}})
		}, `of stream "s-6" ($streamDeleted), which the source has not`},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := written(t), server(t)
			_, err := Copy(ctx, source, target, nil)
			require.NoError(t, err)
			requireCopy(t, source, target)
			tc.change(target)
			_, err = Compare(ctx, source, target, nil)
			require.ErrorAs(t, err, new(*DifferenceError))
			require.ErrorContains(t, err, tc.want)
		})
	}
	t.Run("another event in its place", func(t *testing.T) {
		source, target := server(t), server(t)
		write(t, source, "a", 2)
		write(t, target, "a", 2)
		_, err := Compare(ctx, source, target, nil)
		require.ErrorContains(t, err, "event number 0 is revision 0")
	})
}

// TestCopyOfALiveSource copies while it is written to.
func TestCopyOfALiveSource(t *testing.T) {
	source, target := server(t), server(t)
	write(t, source, "first", 100)
	done := make(chan error, 1)
	go func() {
		for i := range 300 {
			_, err := source.AppendToStream(ctx, fmt.Sprint("live-", i%10), client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, events(2)...)
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	_, err := Copy(ctx, source, target, nil)
	require.NoError(t, err)
	_, err = Compare(ctx, source, target, nil)
	require.NoError(t, err)
	require.NoError(t, <-done)
	_, err = Copy(ctx, source, target, nil)
	require.NoError(t, err)
	c, err := Compare(ctx, source, target, nil)
	require.NoError(t, err)
	require.EqualValues(t, 700, c.Events)
	require.Zero(t, c.Later)
}
