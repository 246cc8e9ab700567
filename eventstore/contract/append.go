package contract

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
)

var appendTests = map[string]func(*fixture){
	"new stream, then by revision": func(f *fixture) {
		s := f.stream("a")
		events := f.events("made", 4)
		first := f.write(s, eventstore.NoStream, events[0])
		second := f.write(s, 0, events[1:]...)
		require.Greater(f, first.Position, f.start)
		require.Greater(f, second.Position, first.Position)
		got := f.load(s, 0)
		requireStream(f, s, 0, events, got)
		require.GreaterOrEqual(f, second.Position, got[1].Position)
		head, err := f.store.Head(f.ctx)
		require.NoError(f, err)
		require.GreaterOrEqual(f, head, second.Position)
	},

	"wrong revision": func(f *fixture) {
		s := f.stream("a")
		f.write(s, eventstore.NoStream, f.events("made", 3)...)
		for _, expect := range []eventstore.Revision{eventstore.NoStream, 0, 1, 3, 99} {
			_, err := f.store.Append(f.ctx, s, expect, f.events("late", 1))
			var wrong *eventstore.WrongRevision
			require.ErrorAs(f, err, &wrong, "expect %d", expect)
			require.Equal(f, eventstore.WrongRevision{Stream: s, Expected: expect}, *wrong)
			require.NotErrorIs(f, err, eventstore.ErrUnavailable)
		}
		_, err := f.store.Append(f.ctx, f.stream("missing"), 0, f.events("late", 1))
		require.ErrorAs(f, err, new(*eventstore.WrongRevision))
		require.Len(f, f.load(s, 0), 3)
		require.Empty(f, f.load(f.stream("missing"), 0))
	},

	"repeated is answered as the first time": func(f *fixture) {
		s := f.stream("a")
		first, second, third := f.events("made", 2), f.events("changed", 3), f.events("changed", 1)
		r1 := f.write(s, eventstore.NoStream, first...)
		require.Equal(f, r1, f.write(s, eventstore.NoStream, first...))
		r2 := f.write(s, 1, second...)
		require.Equal(f, r2, f.write(s, 1, second...))
		f.write(s, 4, third...)
		f.write(f.stream("b"), eventstore.NoStream, f.event("made"))
		require.Equal(f, r1, f.write(s, eventstore.NoStream, first...))
		require.Equal(f, r2, f.write(s, 1, second...))
		require.Len(f, f.load(s, 0), 6)
	},

	"half repeated is a conflict": func(f *fixture) {
		s := f.stream("a")
		events := f.events("made", 2)
		f.write(s, eventstore.NoStream, events...)
		f.write(s, 1, f.event("changed"))
		_, err := f.store.Append(f.ctx, s, eventstore.NoStream, []eventstore.Proposed{events[0], f.event("made")})
		require.ErrorAs(f, err, new(*eventstore.WrongRevision))
		require.Len(f, f.load(s, 0), 3)
	},

	"same ids in another stream are other events": func(f *fixture) {
		events := f.events("made", 2)
		a := f.write(f.stream("a"), eventstore.NoStream, events...)
		b := f.write(f.stream("b"), eventstore.NoStream, events...)
		require.NotEqual(f, a.Position, b.Position)
		requireStream(f, f.stream("b"), 0, events, f.load(f.stream("b"), 0))
	},

	"too large": func(f *fixture) {
		s := f.stream("a")
		big := f.event("made")
		big.Data = mustJSON(f, strings.Repeat("x", eventstore.MaxAppendBytes))
		_, err := f.store.Append(f.ctx, s, eventstore.NoStream, []eventstore.Proposed{big})
		require.ErrorIs(f, err, eventstore.ErrTooLarge)

		halves := f.events("made", 2)
		for i := range halves {
			halves[i].Data = mustJSON(f, strings.Repeat("x", eventstore.MaxAppendBytes/2))
		}
		_, err = f.store.Append(f.ctx, s, eventstore.NoStream, halves)
		require.ErrorIs(f, err, eventstore.ErrTooLarge)

		_, err = f.store.Append(f.ctx, s, eventstore.NoStream, f.events("made", eventstore.MaxAppendEvents+1))
		require.ErrorIs(f, err, eventstore.ErrTooLarge)
		require.Empty(f, f.load(s, 0))
	},

	"largest": func(f *fixture) {
		bytes, number := f.stream("bytes"), f.stream("number")
		big := f.event("made")
		rest := eventstore.MaxAppendBytes - len(big.Meta) - 2*len(big.Type)
		big.Data = mustJSON(f, strings.Repeat("x", rest-2))
		f.write(bytes, eventstore.NoStream, big)
		requireStream(f, bytes, 0, []eventstore.Proposed{big}, f.load(bytes, 0))

		many := f.events("made", eventstore.MaxAppendEvents)
		f.write(number, eventstore.NoStream, many...)
		requireStream(f, number, 0, many, f.load(number, 0))
	},

	"refuses what makes no sense": func(f *fixture) {
		s := f.stream("a")
		noID, noType, system := f.event("made"), f.event("made"), f.event("made")
		noID.ID, noType.Type, system.Type = uuid.Nil, "", "$metadata"
		for name, try := range map[string]struct {
			stream string
			expect eventstore.Revision
			events []eventstore.Proposed
		}{
			"no events":     {s, eventstore.NoStream, nil},
			"no id":         {s, eventstore.NoStream, []eventstore.Proposed{noID}},
			"no type":       {s, eventstore.NoStream, []eventstore.Proposed{noType}},
			"system type":   {s, eventstore.NoStream, []eventstore.Proposed{system}},
			"no name":       {"", eventstore.NoStream, f.events("made", 1)},
			"system stream": {"$" + s, eventstore.NoStream, f.events("made", 1)},
			"any revision":  {s, -2, f.events("made", 1)},
		} {
			_, err := f.store.Append(f.ctx, try.stream, try.expect, try.events)
			require.Error(f, err, name)
			require.NotErrorIs(f, err, eventstore.ErrUnavailable, name)
		}
		require.Empty(f, f.load(s, 0))
	},

	"unicode and odd names": func(f *fixture) {
		for _, name := range []string{"Größe", "日本語/テスト", "smile 😀 space", "a%20b?c#d", "quo\"te'", strings.Repeat("long", 100)} {
			s := f.stream(name)
			e := f.event("geändert-✓")
			e.Data = []byte(`{"text":"Ünïcödé 日本語 😀 \u0000 \" \\ </script>","n":12345678901234567890,  "z":1,"a":2}`)
			e.Meta = []byte(`{"k":"ß"}`)
			f.write(s, eventstore.NoStream, e)
			requireStream(f, s, 0, []eventstore.Proposed{e}, f.load(s, 0))
		}
	},

	"metadata and time": func(f *fixture) {
		s := f.stream("a")
		key := uuid.New()
		meta := eventstore.Metadata{Tenant: uuid.New(), Actor: uuid.New(), APIKey: &key, Command: "t.make", CommandID: uuid.New(),
			Causation: uuid.New(), Correlation: uuid.New(), Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			Dialect: "admin", Schema: 3, Index: 1, Count: 2, Audit: []byte(`{"why":"test"}`)}
		e := f.event("made")
		e.Meta = mustJSON(f, meta)
		f.write(s, eventstore.NoStream, e)
		got := f.load(s, 0)[0]
		read, err := eventstore.DecodeMetadata(got.Meta)
		require.NoError(f, err)
		require.Equal(f, meta, read)
		require.Greater(f, got.Created.Year(), 2000)
		require.Equal(f, time.UTC, got.Created.Location())
	},

	"without metadata": func(f *fixture) {
		s := f.stream("a")
		e := f.event("made")
		e.Meta = nil
		f.write(s, eventstore.NoStream, e)
		require.Empty(f, f.load(s, 0)[0].Meta)
	},

	"one of several writers wins": func(f *fixture) {
		s := f.stream("a")
		const writers, each = 8, 20
		var wg sync.WaitGroup
		errs := make(chan error, writers)
		for range writers {
			wg.Go(func() { errs <- appendCompeting(f, s, each) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(f, err)
		}
		got := f.load(s, 0)
		require.Len(f, got, writers*each)
		requireOrdered(f, f.start, got)
		seen := map[uuid.UUID]bool{}
		for i, e := range got {
			require.Equal(f, eventstore.Revision(i), e.Revision)
			require.False(f, seen[e.ID], "event written twice")
			seen[e.ID] = true
		}
	},

	"ended context": func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		_, err := f.store.Append(ctx, f.stream("a"), eventstore.NoStream, f.events("made", 1))
		require.ErrorIs(f, err, context.Canceled)
	},
}

// appendCompeting writes n events, looking for the revision again whenever
// another writer was faster.
func appendCompeting(f *fixture, stream string, n int) error {
	at := eventstore.NoStream
	for range n {
		e := f.events("made", 1)
		for {
			receipt, err := f.store.Append(f.ctx, stream, at, e)
			if err == nil {
				at = receipt.Revision
				break
			}
			if !errors.As(err, new(*eventstore.WrongRevision)) {
				return err
			}
			for r, err := range f.store.Load(f.ctx, stream, at+1) {
				if err != nil {
					return err
				}
				at = r.Revision
			}
		}
	}
	return nil
}
