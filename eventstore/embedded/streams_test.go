package embedded

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func readStream(t testing.TB, c *esdb.Client, stream string) ([]*esdb.ResolvedEvent, error) {
	t.Helper()
	return all(c.ReadStream(within(t), stream, esdb.ReadStreamOptions{}, math.MaxUint64))
}

func mustRead(t testing.TB, c *esdb.Client, stream string) []uint64 {
	t.Helper()
	got, err := readStream(t, c, stream)
	require.NoError(t, err)
	return numbers(got)
}

func tryAppend(t testing.TB, c *esdb.Client, stream string, expected esdb.ExpectedRevision, ev ...esdb.EventData) error {
	t.Helper()
	_, err := c.AppendToStream(within(t), stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, ev...)
	return err
}

func setMeta(t testing.TB, c *esdb.Client, stream string, change func(*esdb.StreamMetadata)) {
	t.Helper()
	var m esdb.StreamMetadata
	change(&m)
	_, err := c.SetStreamMetadata(within(t), stream, esdb.AppendToStreamOptions{}, m)
	require.NoError(t, err)
}

// TestExpectedRevisions holds each expectation against streams in each condition.
func TestExpectedRevisions(t *testing.T) {
	_, c := open(t)
	prepare := map[string]func(stream string){
		"missing": func(string) {},
		"at 1":    func(s string) { appendTo(t, c, s, esdb.NoStream{}, events(2)...) },
		"metadata only": func(s string) {
			setMeta(t, c, s, func(m *esdb.StreamMetadata) { m.SetMaxCount(5) })
		},
		"soft-deleted at 1": func(s string) {
			appendTo(t, c, s, esdb.NoStream{}, events(2)...)
			_, err := c.DeleteStream(within(t), s, esdb.DeleteStreamOptions{})
			require.NoError(t, err)
		},
		"tombstoned": func(s string) {
			_, err := c.TombstoneStream(within(t), s, esdb.TombstoneStreamOptions{})
			require.NoError(t, err, "even a stream never written can be tombstoned")
		},
	}
	const ok = esdb.ErrorCode(-1)
	const wrong, deleted = esdb.ErrorCodeWrongExpectedVersion, esdb.ErrorCodeStreamDeleted
	expectations := []esdb.ExpectedRevision{esdb.Any{}, esdb.NoStream{}, esdb.StreamExists{}, esdb.Revision(0), esdb.Revision(1), esdb.Revision(2)}
	for condition, want := range map[string][]esdb.ErrorCode{
		"missing":           {ok, ok, wrong, wrong, wrong, wrong},
		"at 1":              {ok, wrong, ok, wrong, ok, wrong},
		"metadata only":     {ok, ok, ok, wrong, wrong, wrong},
		"soft-deleted at 1": {ok, ok, deleted, wrong, ok, wrong},
		"tombstoned":        {deleted, deleted, deleted, deleted, deleted, deleted},
	} {
		for i, expected := range expectations {
			stream := uuid.NewString()
			prepare[condition](stream)
			err := tryAppend(t, c, stream, expected, events(1)...)
			require.Equal(t, want[i], code(err), "%s, expecting %T%v: %v", condition, expected, expected, err)
			if err == nil && strings.HasSuffix(condition, "at 1") {
				got, err := readStream(t, c, stream)
				require.NoError(t, err)
				require.Equal(t, uint64(2), got[len(got)-1].OriginalEvent().EventNumber, "goes on behind what was there")
			}
		}
	}
}

func TestRetriedAppend(t *testing.T) {
	_, c := open(t)
	for name, tc := range map[string]struct {
		expected esdb.ExpectedRevision
		before   int
	}{
		"no stream": {esdb.NoStream{}, 0}, "any": {esdb.Any{}, 2}, "exists": {esdb.StreamExists{}, 2}, "revision": {esdb.Revision(1), 2},
	} {
		t.Run(name, func(t *testing.T) {
			stream := uuid.NewString()
			if tc.before > 0 {
				appendTo(t, c, stream, esdb.NoStream{}, events(tc.before)...)
			}
			ev := events(3)
			first := appendTo(t, c, stream, tc.expected, ev...)
			require.Equal(t, first, appendTo(t, c, stream, tc.expected, ev...))
			require.Len(t, mustRead(t, c, stream), tc.before+3)
			require.Equal(t, esdb.ErrorCodeWrongExpectedVersion, code(tryAppend(t, c, stream, tc.expected, ev[0], events(1)[0])))
		})
	}
}

func TestEmptyAppends(t *testing.T) {
	_, c := open(t)
	res := appendTo(t, c, "a", esdb.NoStream{})
	require.Zero(t, res.CommitPosition)
	appendTo(t, c, "a", esdb.NoStream{}, events(3)...)
	res = appendTo(t, c, "a", esdb.Any{})
	require.Equal(t, uint64(2), res.NextExpectedVersion)
	require.Zero(t, res.CommitPosition)
}

func TestSoftDelete(t *testing.T) {
	_, c := open(t)
	appendTo(t, c, "a", esdb.NoStream{}, events(3)...)
	var acl esdb.StreamMetadata
	acl.SetMaxCount(100)
	setMeta(t, c, "a", func(m *esdb.StreamMetadata) { *m = acl })

	_, err := c.DeleteStream(within(t), "a", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(1)})
	require.Equal(t, codes.FailedPrecondition, status.Code(errors.Unwrap(errors.Unwrap(err))))
	res, err := c.DeleteStream(within(t), "a", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(2)})
	require.NoError(t, err)
	require.NotZero(t, res.Position.Commit)
	_, err = readStream(t, c, "a")
	require.Equal(t, esdb.ErrorCodeResourceNotFound, code(err))
	meta, err := c.GetStreamMetadata(within(t), "a", esdb.ReadStreamOptions{})
	require.NoError(t, err)
	require.Nil(t, meta.MaxCount(), "deleting replaces the metadata")

	appendTo(t, c, "a", esdb.NoStream{}, events(1)...)
	require.Equal(t, []uint64{3}, mustRead(t, c, "a"))
	meta, err = c.GetStreamMetadata(within(t), "a", esdb.ReadStreamOptions{})
	require.NoError(t, err)
	require.Equal(t, uint64(3), *meta.TruncateBefore())

	// The whole log still shows everything.
	got, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{}, 100))
	require.NoError(t, err)
	require.Len(t, got, 3+1+1+1+1)

	for _, expected := range []esdb.ExpectedRevision{esdb.Any{}, esdb.NoStream{}, esdb.StreamExists{}, esdb.Revision(0)} {
		_, err = c.DeleteStream(within(t), "never", esdb.DeleteStreamOptions{ExpectedRevision: expected})
		require.ErrorContains(t, err, "WrongExpectedVersion")
	}
}

// TestMetadataBringsBack sets metadata on a soft-deleted stream: it is there again, empty, with that metadata.
func TestMetadataBringsBack(t *testing.T) {
	_, c := open(t)
	appendTo(t, c, "a", esdb.NoStream{}, events(2)...)
	_, err := c.DeleteStream(within(t), "a", esdb.DeleteStreamOptions{})
	require.NoError(t, err)
	setMeta(t, c, "a", func(m *esdb.StreamMetadata) { m.SetMaxCount(7) })
	require.Empty(t, mustRead(t, c, "a"))
	meta, err := c.GetStreamMetadata(within(t), "a", esdb.ReadStreamOptions{})
	require.NoError(t, err)
	require.Equal(t, uint64(7), *meta.MaxCount())
	require.Equal(t, uint64(2), *meta.TruncateBefore())
}

func TestTombstone(t *testing.T) {
	_, c := open(t)
	appendTo(t, c, "a", esdb.NoStream{}, events(3)...)
	_, err := c.TombstoneStream(within(t), "a", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Revision(1)})
	require.ErrorContains(t, err, "WrongExpectedVersion")
	res, err := c.TombstoneStream(within(t), "a", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Revision(2)})
	require.NoError(t, err)
	_, err = readStream(t, c, "a")
	require.Equal(t, esdb.ErrorCodeStreamDeleted, code(err))
	_, err = c.GetStreamMetadata(within(t), "a", esdb.ReadStreamOptions{})
	require.Equal(t, esdb.ErrorCodeStreamDeleted, code(err))
	_, err = c.TombstoneStream(within(t), "a", esdb.TombstoneStreamOptions{})
	require.Equal(t, esdb.ErrorCodeStreamDeleted, code(err))
	_, err = c.DeleteStream(within(t), "a", esdb.DeleteStreamOptions{})
	require.Equal(t, esdb.ErrorCodeStreamDeleted, code(err))
	_, err = c.SubscribeToStream(within(t), "a", esdb.SubscribeToStreamOptions{})
	require.ErrorContains(t, err, "deleted")

	got, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1))
	require.NoError(t, err)
	require.Equal(t, "$streamDeleted", got[0].Event.EventType)
	require.Equal(t, uint64(math.MaxInt64), got[0].Event.EventNumber)
	require.Equal(t, res.Position, got[0].Event.Position)
}

func TestMetadataLimitsReads(t *testing.T) {
	_, c := open(t)
	appendTo(t, c, "a", esdb.NoStream{}, events(6)...)
	setMeta(t, c, "a", func(m *esdb.StreamMetadata) { m.SetMaxCount(4) })
	require.Equal(t, []uint64{2, 3, 4, 5}, mustRead(t, c, "a"))
	setMeta(t, c, "a", func(m *esdb.StreamMetadata) { m.SetTruncateBefore(5); m.SetMaxCount(4) })
	require.Equal(t, []uint64{5}, mustRead(t, c, "a"))
	setMeta(t, c, "a", func(m *esdb.StreamMetadata) { m.SetTruncateBefore(100) })
	require.Empty(t, mustRead(t, c, "a"), "nothing left to see is an empty read, not a missing stream")
	setMeta(t, c, "a", func(m *esdb.StreamMetadata) { m.SetMaxAge(time.Hour) })
	require.Len(t, mustRead(t, c, "a"), 6)

	// Of metadata only the last one counts, which is what the client relies on.
	require.Equal(t, []uint64{3}, mustRead(t, c, "$$a"))
	_, err := c.GetStreamMetadata(within(t), "none", esdb.ReadStreamOptions{})
	require.Equal(t, esdb.ErrorCodeResourceNotFound, code(err))
}

func TestReadDirections(t *testing.T) {
	_, c := open(t)
	appendTo(t, c, "a", esdb.NoStream{}, events(5)...)
	read := func(d esdb.Direction, from esdb.StreamPosition, count uint64) []uint64 {
		got, err := all(c.ReadStream(within(t), "a", esdb.ReadStreamOptions{Direction: d, From: from}, count))
		require.NoError(t, err)
		return numbers(got)
	}
	require.Equal(t, []uint64{0, 1}, read(esdb.Forwards, esdb.Start{}, 2))
	require.Equal(t, []uint64{3, 4}, read(esdb.Forwards, esdb.Revision(3), 10))
	require.Empty(t, read(esdb.Forwards, esdb.End{}, 10))
	require.Empty(t, read(esdb.Forwards, esdb.Revision(5), 10))
	require.Equal(t, []uint64{4, 3}, read(esdb.Backwards, esdb.End{}, 2))
	require.Equal(t, []uint64{2, 1, 0}, read(esdb.Backwards, esdb.Revision(2), 10))
	require.Equal(t, []uint64{0}, read(esdb.Backwards, esdb.Start{}, 10))
	require.Equal(t, []uint64{4, 3, 2, 1, 0}, read(esdb.Backwards, esdb.Revision(1000), 10))

	whole, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{}, 10))
	require.NoError(t, err)
	at := whole[2].Event.Position
	readAll := func(d esdb.Direction, from esdb.AllPosition) []uint64 {
		got, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{Direction: d, From: from}, 10))
		require.NoError(t, err)
		return numbers(got)
	}
	require.Equal(t, []uint64{2, 3, 4}, readAll(esdb.Forwards, at), "forwards from a position includes it")
	require.Equal(t, []uint64{1, 0}, readAll(esdb.Backwards, at), "backwards from a position excludes it")
	require.Equal(t, []uint64{4, 3, 2, 1, 0}, readAll(esdb.Backwards, esdb.End{}))
	require.Empty(t, readAll(esdb.Forwards, esdb.End{}))
	require.Empty(t, readAll(esdb.Backwards, esdb.Start{}))

	stream, err := c.ReadStream(within(t), "none", esdb.ReadStreamOptions{}, 1)
	require.NoError(t, err)
	defer stream.Close()
	_, err = stream.Recv()
	require.Equal(t, esdb.ErrorCodeResourceNotFound, code(err))
}

func TestPositions(t *testing.T) {
	s, c := open(t)
	var last uint64
	for range 10 {
		res := appendTo(t, c, "a", esdb.Any{}, events(2)...)
		require.Greater(t, res.CommitPosition, last)
		require.Equal(t, res.CommitPosition, res.PreparePosition)
		last = res.CommitPosition
	}
	got, err := readStream(t, c, "a")
	require.NoError(t, err)
	for i, e := range got[1:] {
		require.Greater(t, e.Event.Position.Commit, got[i].Event.Position.Commit+1, "positions are not dense")
	}
	require.Equal(t, last, s.Log().LastPosition())
}

func TestLinks(t *testing.T) {
	_, c := open(t)
	appendTo(t, c, "a", esdb.NoStream{}, events(2)...)
	link := func(data string) esdb.EventData {
		return esdb.EventData{EventID: uuid.New(), EventType: "$>", ContentType: esdb.ContentTypeBinary, Data: []byte(data)}
	}
	bad := []string{"7@a", "0@none", "nonsense", "x@a", "0@", "-1@a", "0@$all"}
	appendTo(t, c, "links", esdb.NoStream{}, link("1@a"))
	for _, data := range bad {
		appendTo(t, c, "links", esdb.Any{}, link(data))
	}
	got, err := all(c.ReadStream(within(t), "links", esdb.ReadStreamOptions{ResolveLinkTos: true}, 100))
	require.NoError(t, err)
	require.Len(t, got, 1+len(bad))
	require.Equal(t, "a", got[0].Event.StreamID)
	require.Equal(t, uint64(1), got[0].Event.EventNumber)
	require.Equal(t, "links", got[0].Link.StreamID)
	require.Equal(t, "links", got[0].OriginalEvent().StreamID)
	require.Equal(t, got[0].Link.Position.Commit, *got[0].Commit)
	for _, e := range got[1:] {
		require.Nil(t, e.Event, string(e.Link.Data))
		require.Equal(t, "$>", e.Link.EventType)
	}
	plain, err := readStream(t, c, "links")
	require.NoError(t, err)
	require.Nil(t, plain[0].Link)
	require.Equal(t, "$>", plain[0].Event.EventType)

	sub, err := c.SubscribeToStream(within(t), "links", esdb.SubscribeToStreamOptions{From: esdb.Start{}, ResolveLinkTos: true})
	require.NoError(t, err)
	defer sub.Close()
	require.Equal(t, got[0], sub.Recv().EventAppeared)
}

func TestLimits(t *testing.T) {
	_, c := open(t)
	big := esdb.EventData{EventID: uuid.New(), EventType: "b", Data: make([]byte, 1<<20-2)}
	require.NoError(t, tryAppend(t, c, "a", esdb.NoStream{}, big))
	big = esdb.EventData{EventID: uuid.New(), EventType: "b", Data: make([]byte, 1<<20-1)}
	require.ErrorContains(t, tryAppend(t, c, "a", esdb.Any{}, big), "Maximum Append Size of 1048576 Exceeded",
		"the reason arrives, although the client is still sending")
	many := make([]esdb.EventData, 3000)
	for i := range many {
		many[i] = esdb.EventData{EventID: uuid.New(), EventType: "b", Data: make([]byte, 1<<10)}
	}
	require.ErrorContains(t, tryAppend(t, c, "a", esdb.Any{}, many...), "Maximum Append Size of 1048576 Exceeded")

	for _, name := range []string{"", "$$", "$all", "$$$$a", "a\xff"} {
		require.Equal(t, codes.InvalidArgument, rpcCode(tryAppend(t, c, name, esdb.Any{}, events(1)...)), "%q", name)
		_, err := readStream(t, c, name)
		require.Equal(t, codes.InvalidArgument, rpcCode(err), "%q", name)
		_, err = c.SubscribeToStream(within(t), name, esdb.SubscribeToStreamOptions{})
		require.Equal(t, codes.InvalidArgument, rpcCode(err), "%q", name)
	}
	require.Equal(t, codes.InvalidArgument, rpcCode(tryAppend(t, c, "a", esdb.Any{}, esdb.EventData{EventID: uuid.New()})), "no type")
	_, err := all(c.ReadStream(within(t), "a", esdb.ReadStreamOptions{}, 0))
	require.Equal(t, codes.InvalidArgument, rpcCode(err), "count 0")
	require.Equal(t, codes.InvalidArgument, rpcCode(tryAppend(t, c, "a", esdb.Revision(math.MaxUint64), events(1)...)))
	// Names are bytes: anything else goes, in errors too.
	odd := "日本 ~%\n?"
	appendTo(t, c, odd, esdb.NoStream{}, events(1)...)
	require.Equal(t, []uint64{0}, mustRead(t, c, odd))
	_, err = c.TombstoneStream(within(t), odd, esdb.TombstoneStreamOptions{})
	require.NoError(t, err)
	require.Equal(t, esdb.ErrorCodeStreamDeleted, code(tryAppend(t, c, odd, esdb.Any{}, events(1)...)))
}

// rpcCode is the status of the call inside a client error, which does not always unwrap.
func rpcCode(err error) codes.Code {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if s, ok := e.(interface{ GRPCStatus() *status.Status }); ok {
			return s.GRPCStatus().Code()
		}
	}
	return codes.Unknown
}

func TestCancelledRead(t *testing.T) {
	_, c := open(t)
	for range 20 {
		appendTo(t, c, "a", esdb.Any{}, events(500)...)
	}
	stream, err := c.ReadStream(within(t), "a", esdb.ReadStreamOptions{}, math.MaxUint64)
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	stream.Close()
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, mustRead(t, c, "a"), 10_000, "the connection is still good")
}
