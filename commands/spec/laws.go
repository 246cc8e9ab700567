package spec

import (
	"reflect"
	"regexp"
	"testing"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"github.com/stretchr/testify/require"
)

var (
	commandName = regexp.MustCompile(`^[a-z]+\.[a-z]+(-[a-z]+)*$`)
	streamName  = regexp.MustCompile(`^[a-z]+-[0-9a-f-]{36}$`)
	null        = regexp.MustCompile(`:null[,}]`)
)

// checkCommand holds for every command: a stable name, a stream whose category
// stands before the first dash, a permission of the catalogue that the
// scenario's actor holds (else the pipeline would never ask Decide).
func checkCommand[S domain.State[S]](t testing.TB, cmd commands.Command[S], actor domain.Actor) {
	t.Helper()
	require.Regexp(t, commandName, cmd.Name())
	require.Regexp(t, streamName, cmd.Stream())
	if p := cmd.Permission(); p != "" {
		require.True(t, directory.KnownPermission(p), "%s needs %s, which is not in the catalogue", cmd.Name(), p)
		require.True(t, actor.May(p), "the actor of this scenario lacks %s", p)
	}
}

// roundTrip holds for every event: its type is registered, its JSON reads back
// as the same event, and lists are [] rather than null for who reads the log.
func roundTrip(t testing.TB, e domain.Event) domain.Event {
	t.Helper()
	data, err := codec.Encode(e)
	require.NoError(t, err)
	require.NotRegexp(t, null, string(data), "%s holds null", e.EventType())
	back, err := codec.Decode(e.EventType(), codec.Schema(e.EventType()), data)
	require.NoError(t, err)
	require.Equal(t, e, back, "%s does not survive its JSON", e.EventType())
	return back
}

// reread folds events as they come out of the log.
func reread[S domain.State[S]](t testing.TB, events []domain.Event) S {
	t.Helper()
	var s S
	for _, e := range events {
		s = s.Apply(roundTrip(t, e))
	}
	return s
}

// applied folds events on top of s and checks that Apply leaves its receiver,
// and whatever its receiver reaches, as it was.
func applied[S domain.State[S]](t testing.TB, s S, events []domain.Event) S {
	t.Helper()
	for _, e := range events {
		before := snapshot(s)
		after := s.Apply(roundTrip(t, e))
		require.Equal(t, before, snapshot(s), "Apply of %s wrote to its receiver", e.EventType())
		s = after
	}
	return s
}

// snapshot copies a state deeply, slices with their spare capacity: an append
// into it shows in no slice of the receiver and still breaks a shared state.
func snapshot(v any) any { return deepCopy(reflect.ValueOf(v)).Interface() }

func deepCopy(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if c.Field(i).CanSet() {
				c.Field(i).Set(deepCopy(v.Field(i)))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			c.Set(reflect.New(v.Type().Elem()))
			c.Elem().Set(deepCopy(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			all := v.Slice3(0, v.Cap(), v.Cap())
			c.Set(reflect.MakeSlice(v.Type(), v.Cap(), v.Cap()))
			for i := range v.Cap() {
				c.Index(i).Set(deepCopy(all.Index(i)))
			}
		}
	case reflect.Interface:
		if !v.IsNil() {
			c.Set(deepCopy(v.Elem()))
		}
	case reflect.Map:
		if !v.IsNil() {
			c.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for _, k := range v.MapKeys() {
				c.SetMapIndex(k, deepCopy(v.MapIndex(k)))
			}
		}
	}
	return c
}
