package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"docket/domain"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// Change is all that one command did to one thing at once.
type Change struct {
	Position     int64         `json:"position" doc:"Place in the whole log; also the cursor of this list."`
	RecordedAt   time.Time     `json:"recordedAt"`
	Action       string        `json:"action" enum:"created,changed,deleted,unknown"`
	Actor        Who           `json:"actor"`
	APIKey       *Named        `json:"apiKey"`
	Organization Named         `json:"organization" doc:"That the actor worked in."`
	Dialect      string        `json:"dialect"`
	Command      string        `json:"command"`
	CommandID    uuid.UUID     `json:"commandId"`
	Causation    uuid.UUID     `json:"causation"`
	Correlation  uuid.UUID     `json:"correlation"`
	Aggregate    Thing         `json:"aggregate"`
	Events       []StepEvent   `json:"events"`
	Changes      []FieldChange `json:"changes" doc:"Members of the state that are others now, by name. Secrets never appear, personal data only with the permission users.view."`
	Problem      string        `json:"problem,omitempty" doc:"Why before and after may not be what they were."`
}

// Who is who acted.
type Who struct {
	ID   uuid.UUID `json:"id"`
	Kind *string   `json:"kind" doc:"user, recipient, accessKey (of the SAFEQ API) or system."`
	Name *string   `json:"name" doc:"As it is now, or was last; null when not known."`
}

// Named is something with a name. The name is null when it is not known, or not
// for the caller.
type Named struct {
	ID   uuid.UUID `json:"id"`
	Name *string   `json:"name"`
}

// Thing is what was changed.
type Thing struct {
	Kind          string      `json:"kind"`
	ID            *uuid.UUID  `json:"id"`
	Stream        string      `json:"stream"`
	Name          *string     `json:"name" doc:"After the change, or before it when it was deleted."`
	Organizations []uuid.UUID `json:"organizations" doc:"That it belongs to after the change, or did before it when it was deleted."`
}

// FieldChange is one member of the state.
type FieldChange struct {
	Field  string `json:"field" doc:"Member of the state; of an object's members, \"Notifications.Send\"."`
	Before any    `json:"before" doc:"null before it was created."`
	After  any    `json:"after" doc:"null after it was deleted."`
}

const (
	created = "created"
	changed = "changed"
	deleted = "deleted"
	unclear = "unknown"
)

// changes adds to heads what was done. Each stream is folded once, with as many
// at a time as readers. The list is never null.
func (r *reads) changes(ctx context.Context, heads []head, names *names) ([]Change, error) {
	out := make([]Change, len(heads))
	places := map[string][]int{}
	for i, h := range heads {
		out[i] = h.change()
		places[h.Stream] = append(places[h.Stream], i)
	}
	group, folding := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for stream, at := range places {
		group.Go(func() error { return r.fold(folding, stream, heads, at, out) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out, names.fill(ctx, out)
}

// readers is how many streams are read at a time.
const readers = 8

// fold fills in the changes of one stream, which are at these places.
func (r *reads) fold(ctx context.Context, stream string, heads []head, at []int, out []Change) error {
	slices.SortFunc(at, func(a, b int) int { return int(heads[a].Revision - heads[b].Revision) })
	first := make([]int64, len(at))
	for i, place := range at {
		first[i] = heads[place].Revision
	}
	mask := hidden
	if actorOf(ctx).May("users.view") {
		mask = ""
	}
	next := 0
	return r.Log.History(ctx, stream, first, mask, func(s Step) error {
		next++
		return out[at[next-1]].tell(s)
	})
}

func (h head) change() Change {
	c := Change{Position: h.Position, RecordedAt: h.RecordedAt.UTC(), Actor: Who{ID: h.Actor}, Organization: Named{ID: h.Tenant}, Dialect: h.Dialect,
		Command: h.Command, CommandID: h.CommandID, Causation: h.Causation, Correlation: h.Correlation, Aggregate: Thing{Kind: h.Kind, Stream: h.Stream}}
	if h.APIKey != nil {
		c.APIKey = &Named{ID: *h.APIKey}
	}
	if id, err := uuid.Parse(strings.TrimPrefix(h.Stream, h.Kind+"-")); err == nil {
		c.Aggregate.ID = &id
	}
	return c
}

// tell adds what happened.
func (c *Change) tell(s Step) error {
	c.Events, c.Problem = s.Events, s.Problem
	before, err := membersOf(s.Before)
	if err != nil {
		return err
	}
	after, err := membersOf(s.After)
	if err != nil {
		return err
	}
	c.Changes = compare(before, after)
	c.Action = action(s, len(c.Changes) > 0)
	last, lastly := after, s.After
	if c.Action == deleted {
		last, lastly = before, s.Before
	}
	c.Aggregate.Name, c.Aggregate.Organizations = nameOf(last.shown), append([]domain.ID{}, lastly.Organizations...)
	return nil
}

func action(s Step, visible bool) string {
	switch {
	case s.After.Exists && !s.Before.Exists:
		return created
	case s.Before.Exists && !s.After.Exists:
		return deleted
	case s.Problem != "" && !visible:
		return unclear
	}
	return changed
}

// members are those of a state: as they are, to compare them, and as they are
// shown. Members of objects have names with dots.
type members struct{ real, shown map[string]any }

func membersOf(i Image) (m members, err error) {
	if m.real, err = flat(i.State, false); err != nil {
		return m, err
	}
	m.shown, err = flat(i.Shown, true)
	return m, err
}

func flat(state json.RawMessage, hiding bool) (map[string]any, error) {
	members := map[string]any{}
	if len(state) == 0 {
		return members, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(state))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	if hiding {
		hide(object)
	}
	flatten(members, "", object)
	// What these two say, the entry says itself: that and when it changed.
	delete(members, "Live")
	delete(members, "ModifiedAt")
	return members, nil
}

func flatten(into map[string]any, prefix string, object map[string]any) {
	for name, value := range object {
		if inner, ok := value.(map[string]any); ok {
			flatten(into, prefix+name+".", inner)
			continue
		}
		into[prefix+name] = value
	}
}

// compare lists the members that differ, sorted. The list is never null.
func compare(before, after members) []FieldChange {
	all := maps.Clone(before.real)
	maps.Copy(all, after.real)
	list := []FieldChange{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !reflect.DeepEqual(something(before.real[name]), something(after.real[name])) {
			list = append(list, FieldChange{Field: name, Before: before.shown[name], After: after.shown[name]})
		}
	}
	return list
}

// something is a value, or nil for those that say nothing: a thing that is made
// without a description has not changed its description.
func something(value any) any {
	switch v := value.(type) {
	case string:
		if v == "" || v == "0001-01-01T00:00:00Z" {
			return nil
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
	}
	return value
}
