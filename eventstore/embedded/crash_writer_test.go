package embedded

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// crashWriter makes up writes. A stream of its own it knows the revision of; others it shares.
type crashWriter struct {
	model *crashModel
	rng   *rand.Rand
	own   string
	next  uint64 // revision of own
}

func newCrashWriter(m *crashModel, n int, seed uint64) *crashWriter {
	own := fmt.Sprintf("own-%d", n)
	return &crashWriter{model: m, rng: rand.New(rand.NewPCG(seed, 1)), own: own, next: m.revisionOf(own)}
}

// draw makes the next append. It takes for granted that the ones before to the same stream succeed.
func (w *crashWriter) draw() *crashAppend {
	a := &crashAppend{events: w.events()}
	shared := fmt.Sprintf("shared-%d", w.rng.IntN(5))
	switch w.rng.IntN(10) {
	case 0:
		a.stream, a.expected = "new-"+newUUID(w.rng).String(), esdb.NoStream{}
	case 1:
		a.stream, a.expected = shared, esdb.Any{}
	case 2:
		a.stream, a.expected = shared, esdb.StreamExists{}
	case 3: // as good as always wrong
		a.stream, a.expected = shared, esdb.Revision(w.rng.Uint64N(1000))
	case 4:
		a.stream, a.expected = shared, esdb.NoStream{}
	case 5:
		a.stream, a.expected = "$$"+shared, esdb.Any{}
		a.events = []esdb.EventData{{EventID: newUUID(w.rng), EventType: "$metadata", ContentType: esdb.ContentTypeJson,
			Data: fmt.Appendf(nil, `{"$maxCount":%d}`, 1+w.rng.IntN(100))}}
	default:
		a.stream, a.expected = w.own, esdb.NoStream{}
		if w.next > 0 {
			a.expected = esdb.Revision(w.next - 1)
		}
		w.next += uint64(len(a.events))
	}
	w.model.sent(a)
	return a
}

// events are mostly small; now and then one is big enough that the database soon has to move its tables about.
func (w *crashWriter) events() []esdb.EventData {
	out := make([]esdb.EventData, 1+w.rng.IntN(3))
	size := 300
	switch w.rng.IntN(50) {
	case 0:
		out, size = out[:1], 200<<10
	case 1:
		out = make([]esdb.EventData, 40)
	}
	for i := range out {
		data := make([]byte, w.rng.IntN(size))
		for j := range data {
			data[j] = byte(w.rng.Uint32())
		}
		out[i] = esdb.EventData{EventID: newUUID(w.rng), EventType: "happened", ContentType: esdb.ContentTypeBinary, Data: data}
	}
	return out
}

// appendUntilDead writes through the client, one call after the other.
func (w *crashWriter) appendUntilDead(c *child, count func()) {
	client := c.connect()
	defer client.Close()
	for {
		if w.rng.IntN(25) == 0 {
			if err := w.delete(c, client); err != nil {
				c.gone(err)
				return
			}
			count()
			continue
		}
		a := w.draw()
		answer := tryCrashAppend(c.ctx, client, a)
		if answer.lost != nil {
			c.gone(answer.lost)
			return
		}
		if err := w.model.settle(a, answer, false); err != nil {
			c.t.Error(err)
		}
		count()
	}
}

// delete soft-deletes a stream that is written again later, or ends one for ever.
func (w *crashWriter) delete(c *child, client *esdb.Client) error {
	d := crashDeletion{stream: "$$" + w.own, typ: "$metadata"}
	w.model.deleting(w.own)
	if w.next > 0 && w.rng.IntN(2) == 0 {
		res, err := client.DeleteStream(c.ctx, w.own, esdb.DeleteStreamOptions{})
		if err != nil {
			return err
		}
		d.pos = res.Position.Commit
		w.model.deleted(d)
		return nil
	}
	d = crashDeletion{stream: "dead-" + newUUID(w.rng).String(), typ: "$streamDeleted"}
	w.model.deleting(d.stream)
	res, err := client.TombstoneStream(c.ctx, d.stream, esdb.TombstoneStreamOptions{})
	if err != nil {
		return err
	}
	d.pos = res.Position.Commit
	w.model.deleted(d)
	return nil
}

// batchUntilDead writes over one BatchAppend call, several appends at a time.
func (w *crashWriter) batchUntilDead(t *testing.T, c *child, count func()) {
	address, err := SocketOf(c.dir)
	require.NoError(t, err)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	call, err := streams.NewStreamsClient(conn).BatchAppend(c.ctx)
	for err == nil {
		err = w.burst(call, count)
	}
	c.gone(err)
}

// burst sends a few appends and waits for all the answers.
func (w *crashWriter) burst(call streams.Streams_BatchAppendClient, count func()) error {
	under := map[uuid.UUID]*crashAppend{}
	for range 1 + w.rng.IntN(8) {
		a, id := w.draw(), newUUID(w.rng)
		under[id] = a
		if err := call.Send(a.message(id)); err != nil {
			return err
		}
	}
	for range len(under) {
		m, err := call.Recv()
		if err != nil {
			return err
		}
		id, _ := parseUUID(m.GetCorrelationId())
		answer := batchAnswer(m)
		if answer.lost != nil {
			return answer.lost
		}
		if err := w.model.settle(under[id], answer, false); err != nil {
			return err
		}
		count()
	}
	return nil
}

func (a *crashAppend) message(id uuid.UUID) *streams.BatchAppendReq {
	o := &streams.BatchAppendReq_Options{StreamIdentifier: identifier(a.stream)}
	switch e := a.expected.(type) {
	case esdb.Any:
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_Any{Any: &emptypb.Empty{}}
	case esdb.NoStream:
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}
	case esdb.StreamExists:
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamExists{StreamExists: &emptypb.Empty{}}
	case esdb.StreamRevision:
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: e.Value}
	}
	m := &streams.BatchAppendReq{CorrelationId: structuredUUID(id), Options: o, IsFinal: true}
	for _, e := range a.events {
		m.ProposedMessages = append(m.ProposedMessages, &streams.BatchAppendReq_ProposedMessage{Id: structuredUUID(e.EventID), Data: e.Data,
			Metadata: map[string]string{"type": e.EventType, "content-type": "application/octet-stream"}})
	}
	return m
}

func batchAnswer(m *streams.BatchAppendResp) crashAnswer {
	if ok := m.GetSuccess(); ok != nil {
		return crashAnswer{revision: ok.GetCurrentRevision(), position: ok.GetPosition().GetCommitPosition()}
	}
	st := status.FromProto(m.GetError())
	for _, d := range st.Details() {
		switch d.(type) {
		case *shared.WrongExpectedVersion:
			return crashAnswer{wrongVersion: true}
		case *shared.StreamDeleted:
			return crashAnswer{deleted: true}
		}
	}
	return crashAnswer{lost: st.Err()}
}
