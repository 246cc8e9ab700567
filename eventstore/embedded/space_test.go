package embedded

import (
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const whenFull = "the event store's disk is full: nothing was written, try again later"

// untilFull waits until the server has noticed that its disk is full, or that it is not any more.
func untilFull(t *testing.T, s *Server, full bool) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Log().Stats().Full == full }, time.Minute, time.Millisecond)
}

// TestDiskFullReachesClients: every kind of write is refused for the time being, in words that name no file.
func TestDiskFullReachesClients(t *testing.T) {
	disk := vfs.NewMem()
	s := openServer(t, Options{FS: disk})
	c := connect(t, s)
	appendTo(t, c, "a", esdb.NoStream{}, events(2)...)
	call, err := streams.NewStreamsClient(dial(t, s)).BatchAppend(within(t))
	require.NoError(t, err)
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1})
	untilFull(t, s, true)

	refused := func(err error) {
		t.Helper()
		require.Equal(t, codes.ResourceExhausted, rpcCode(err), "%v", err)
		require.ErrorContains(t, err, whenFull)
	}
	refused(tryAppend(t, c, "a", esdb.Any{}, events(1)...))
	_, err = c.SetStreamMetadata(within(t), "a", esdb.AppendToStreamOptions{}, esdb.StreamMetadata{})
	refused(err)
	_, err = c.DeleteStream(within(t), "a", esdb.DeleteStreamOptions{})
	refused(err)
	_, err = c.TombstoneStream(within(t), "a", esdb.TombstoneStreamOptions{})
	refused(err)
	id := uuid.New()
	batch := batchCall{call, t}
	batch.send(id, batchOptions("b"), batchMessages(1), true)
	refused(status.FromProto(batch.answers(1)[id].GetError()).Err())
	require.Len(t, mustRead(t, c, "a"), 2)

	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40})
	untilFull(t, s, false)
	appendTo(t, c, "a", esdb.Revision(1), events(1)...)
	batch.send(id, batchOptions("b"), batchMessages(1), true)
	require.NotNil(t, batch.answers(1)[id].GetSuccess())
	require.NoError(t, call.CloseSend())
}
