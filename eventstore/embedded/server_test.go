package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := serveUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// openServer opens a store in memory.
func openServer(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.FS == nil {
		opts.FS = vfs.NewMem()
	}
	s, err := Open("store", opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func connect(t testing.TB, s *Server) *esdb.Client {
	t.Helper()
	c, err := esdb.NewClient(s.ClientConfig())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func open(t testing.TB) (*Server, *esdb.Client) {
	t.Helper()
	s := openServer(t, Options{})
	return s, connect(t, s)
}

// within is a context for one test step.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func event(typ, data string) esdb.EventData {
	return esdb.EventData{EventID: uuid.New(), EventType: typ, ContentType: esdb.ContentTypeJson,
		Data: []byte(data), Metadata: []byte(`{"m":1}`)}
}

func events(n int) []esdb.EventData {
	out := make([]esdb.EventData, n)
	for i := range out {
		out[i] = event("happened", `{"some":"thing"}`)
	}
	return out
}

func appendTo(t testing.TB, c *esdb.Client, stream string, expected esdb.ExpectedRevision, ev ...esdb.EventData) *esdb.WriteResult {
	t.Helper()
	res, err := c.AppendToStream(within(t), stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, ev...)
	require.NoError(t, err)
	return res
}

// all drains a read.
func all(stream *esdb.ReadStream, err error) ([]*esdb.ResolvedEvent, error) {
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var out []*esdb.ResolvedEvent
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

func numbers(events []*esdb.ResolvedEvent) []uint64 {
	out := []uint64{}
	for _, e := range events {
		out = append(out, e.OriginalEvent().EventNumber)
	}
	return out
}

func code(err error) esdb.ErrorCode {
	var e *esdb.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return -1
}

func TestAppendReadSubscribe(t *testing.T) {
	s, c := open(t)
	v, err := c.GetServerVersion()
	require.NoError(t, err)
	require.Equal(t, &esdb.ServerVersion{Major: 24, Minor: 10}, v)

	ev := events(3)
	res := appendTo(t, c, "a", esdb.NoStream{}, ev...)
	require.Equal(t, uint64(2), res.NextExpectedVersion)
	require.Equal(t, s.Log().LastPosition(), res.CommitPosition)
	got, err := all(c.ReadStream(within(t), "a", esdb.ReadStreamOptions{}, 10))
	require.NoError(t, err)
	require.Equal(t, []uint64{0, 1, 2}, numbers(got))
	for i, e := range got {
		require.Equal(t, ev[i].EventID, e.Event.EventID)
		require.Equal(t, ev[i].EventType, e.Event.EventType)
		require.Equal(t, ev[i].Data, e.Event.Data)
		require.Equal(t, ev[i].Metadata, e.Event.UserMetadata)
		require.Equal(t, "application/json", e.Event.ContentType)
		require.Equal(t, "a", e.Event.StreamID)
		require.Equal(t, e.Event.Position.Commit, *e.Commit)
		require.WithinDuration(t, time.Now(), e.Event.CreatedDate, time.Minute)
	}
	fromAll, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{}, 10))
	require.NoError(t, err)
	require.Equal(t, got, fromAll)

	sub, err := c.SubscribeToAll(within(t), esdb.SubscribeToAllOptions{From: esdb.Start{}})
	require.NoError(t, err)
	defer sub.Close()
	for i := range 3 {
		require.Equal(t, got[i], sub.Recv().EventAppeared)
	}
	require.NotNil(t, sub.Recv().CaughtUp)
	appendTo(t, c, "b", esdb.Any{}, events(1)...)
	require.Equal(t, "b", sub.Recv().EventAppeared.OriginalEvent().StreamID)
}
