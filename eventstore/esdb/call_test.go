package esdb

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
)

// The client does not heed its context while it looks for a server.
func TestDeadlineHoldsWhenTheClientIgnoresIt(t *testing.T) {
	sv := supervise(client.Configuration{Address: "unix:nowhere", DisableTLS: true, GossipTimeout: 1}, time.Second, slog.New(slog.DiscardHandler))
	defer sv.close()
	conn := &connection{calls: 1, idle: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	proceed := make(chan struct{})
	_, err := doOver(ctx, sv, conn, func(context.Context, *client.Client) (int, error) {
		<-proceed
		return 1, nil
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	sv.mu.Lock()
	require.Equal(t, 1, conn.calls, "the call still occupies its connection")
	conn.retired = true
	sv.mu.Unlock()
	close(proceed)
	<-conn.idle // ended with its last call
}

// A client that is closed while calls hang in it panics in them.
func TestCallInAClosedClient(t *testing.T) {
	r := guarded(context.Background(), nil, func(context.Context, *client.Client) (int, error) {
		gone := make(chan int)
		close(gone)
		gone <- 1
		return 1, nil
	})
	require.ErrorIs(t, r.err, errClientGone)
	require.True(t, connectionLost(r.err))
	require.False(t, permanent(r.err))

	other := errors.New("a bug")
	require.PanicsWithValue(t, other, func() {
		guarded(context.Background(), nil, func(context.Context, *client.Client) (int, error) { panic(other) })
	})
}
