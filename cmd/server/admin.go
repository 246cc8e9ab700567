package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/internal/config"
	"docket/internal/httpx"
	"docket/projections"
	"docket/readapi/admin"
	writeadmin "docket/writeapi/admin"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// administration makes the API for who runs the server.
func (s *Server) administration(d httpx.Dialect) *httpx.API {
	api := httpx.NewAPI(admin.Describe(d))
	reacting, jobs := watchedReactors{engine: s.reactors, runs: s.config.Roles.Has(config.Reactors)}, watchedJobs{s.effects}
	admin.Register(admin.Config{API: api, Pool: s.pools.List, Log: &inspector{store: s.stores.log, codec: s.codec, bus: s.bus}, Projections: s.operations,
		Reactors: reacting, Jobs: jobs})
	writeadmin.Register(writeadmin.Config{API: api, Bus: s.bus, Blobs: s.blobs, Operations: s.operations, Reactors: reacting, Jobs: jobs, Vault: s.vault,
		MaxKeyLife: time.Duration(s.config.APIKeyMaxDays) * 24 * time.Hour, Logger: s.log})
	return api
}

// inspector is the event log as the administration API sees it.
type inspector struct {
	store eventstore.Store
	codec *eventstore.Codec
	bus   *commands.Bus
}

var _ admin.Log = (*inspector)(nil)

// Types implements admin.Log.
func (i *inspector) Types() []string { return i.codec.Types() }

// State implements admin.Log.
func (i *inspector) State(ctx context.Context, stream string, until admin.Until) (admin.State, error) {
	if !until.Time.IsZero() {
		until.Time = until.Time.Truncate(precision).Add(precision - 1) // the end of what clients see as this time
	}
	s, err := i.bus.Inspect(ctx, stream, commands.Until{Revision: (*eventstore.Revision)(until.Revision), Time: until.Time})
	return admin.State{Stream: s.Stream, Revision: int64(s.Revision), At: shownTime(s.At), Exists: s.Exists, State: s.State, Organizations: s.Organizations}, err
}

// precision is that of times in read models. The log's are finer; a client must
// see the same time in both.
const precision = time.Microsecond

func shownTime(t time.Time) time.Time { return t.UTC().Truncate(precision) }

// Stream implements admin.Log.
func (i *inspector) Stream(ctx context.Context, stream string, from int64, limit int) ([]admin.Event, error) {
	var events []admin.Event
	for r, err := range i.store.Load(ctx, stream, eventstore.Revision(from)) {
		if err != nil {
			return nil, err
		}
		if events = append(events, i.event(r)); len(events) == limit {
			break
		}
	}
	return events, nil
}

func (i *inspector) event(r eventstore.Recorded) admin.Event {
	c := i.content(r)
	e := admin.Event{Position: int64(r.Position), ID: r.ID, Type: r.Type, Stream: r.Stream, Revision: int64(r.Revision), RecordedAt: shownTime(r.Created),
		Data: c.Data, Personal: c.Personal, Problem: c.Problem}
	m, err := eventstore.DecodeMetadata(r.Meta)
	if err != nil {
		e.Problem = err.Error()
		return e
	}
	e.Tenant, e.Actor, e.APIKey, e.Command, e.CommandID = m.Tenant, m.Actor, m.APIKey, m.Command, m.CommandID
	e.Causation, e.Correlation, e.Dialect = m.Causation, m.Correlation, m.Dialect
	return e
}

// content is what an event says in its current schema.
func (i *inspector) content(r eventstore.Recorded) admin.Content {
	e, _, err := i.codec.DecodeRecorded(r)
	if err != nil {
		return admin.Content{Data: validJSON(r.Data), Problem: err.Error()}
	}
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return admin.Content{Data: validJSON(r.Data), Problem: err.Error()}
	}
	return admin.Content{Data: data.Bytes(), Personal: personal(reflect.TypeOf(e))}
}

// validJSON is stored data if it can be shown.
func validJSON(data []byte) json.RawMessage {
	if !json.Valid(data) {
		return nil
	}
	return data
}

// personal are the JSON members of an event type that are tagged pii.
func personal(t reflect.Type) []string {
	var members []string
	for f := range t.NumField() {
		field := t.Field(f)
		if _, tagged := field.Tag.Lookup("pii"); tagged {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				name = field.Name
			}
			members = append(members, name)
		}
	}
	return members
}

// Reading on within a stream beats asking again as long as the gap is short.
const (
	shortGap = 100
	readers  = 8
)

// Contents implements admin.Log. Events of one stream are read together.
func (i *inspector) Contents(ctx context.Context, places []admin.Place) ([]admin.Content, error) {
	order := make([]int, len(places))
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(a, b int) int {
		if c := strings.Compare(places[a].Stream, places[b].Stream); c != 0 {
			return c
		}
		return int(places[a].Revision - places[b].Revision)
	})
	out := make([]admin.Content, len(places))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for start := 0; start < len(order); {
		end := start + 1
		for end < len(order) && places[order[end]].Stream == places[order[start]].Stream && places[order[end]].Revision-places[order[end-1]].Revision <= shortGap {
			end++
		}
		run := order[start:end]
		group.Go(func() error { return i.readRun(ctx, places, run, out) })
		start = end
	}
	return out, group.Wait()
}

// readRun reads events of one stream, in ascending order, into their places.
func (i *inspector) readRun(ctx context.Context, places []admin.Place, run []int, out []admin.Content) error {
	first := places[run[0]]
	next := 0
	for r, err := range i.store.Load(ctx, first.Stream, eventstore.Revision(first.Revision)) {
		if err != nil {
			return err
		}
		for next < len(run) && places[run[next]].Revision == int64(r.Revision) {
			out[run[next]] = i.content(r)
			next++
		}
		if next == len(run) {
			return nil
		}
	}
	return fmt.Errorf("the log holds no event %s@%d", first.Stream, places[run[next]].Revision)
}

// operations are what operators do to read models through this process.
type operations struct {
	engine *projections.Engine
	log    *slog.Logger

	ctx     context.Context // of rebuilds under way
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	last    map[string]*admin.Rebuild
}

var (
	_ admin.Projections     = (*operations)(nil)
	_ writeadmin.Operations = (*operations)(nil)
)

func newOperations(engine *projections.Engine, log *slog.Logger) *operations {
	o := &operations{engine: engine, log: log, last: make(map[string]*admin.Rebuild)}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o
}

// close stops rebuilds under way; their unfinished tables are dropped.
func (o *operations) close() {
	o.cancel()
	o.running.Wait()
}

// Projections implements admin.Projections.
func (o *operations) Projections(ctx context.Context) []admin.Projection {
	states := o.engine.Status(ctx)
	list := make([]admin.Projection, len(states))
	for i, s := range states {
		list[i] = projectionOf(s)
		o.mu.Lock()
		if last := o.last[s.Group]; last != nil {
			one := *last
			list[i].LastRebuild = &one
		}
		o.mu.Unlock()
	}
	return list
}

func projectionOf(s projections.Status) admin.Projection {
	p := admin.Projection{Group: s.Group, Version: s.Version, State: string(s.State), Since: s.Since.UTC(), Position: int64(s.Position), BehindSeconds: s.Behind.Seconds()}
	if s.Head > 0 {
		head := int64(s.Head)
		lag := max(head-p.Position, 0)
		if s.State == projections.Live && s.Behind == 0 {
			lag = 0 // what is beyond the position is not for this group
		}
		p.Head, p.Lag = &head, &lag
	}
	if f := s.Failure; f != nil {
		p.Failure = &admin.Failure{EventType: f.EventType, Stream: f.Stream, Revision: int64(f.Revision), Position: int64(f.Position), Error: f.Error, At: f.At.UTC()}
		if f.EventID != uuid.Nil {
			p.Failure.EventID = &f.EventID
		}
	}
	if b := s.Progress; b != nil {
		p.Build = &admin.Build{Phase: b.Phase, Events: b.Events, Position: int64(b.Position), StartedAt: b.Started.UTC()}
	}
	return p
}

// find refuses unknown groups, and those that have no finished tables yet.
func (o *operations) find(ctx context.Context, group string) error {
	for _, s := range o.engine.Status(ctx) {
		if s.Group != group {
			continue
		}
		if s.State == projections.Starting || s.State == projections.Rebuilding {
			return fault.New(fault.Conflict, "projection.building", "the tables of group %s are being built already", group)
		}
		return nil
	}
	return fault.Missing("projection", group)
}

// Rebuild implements the administration API's Operations. It returns as soon as
// new tables are being filled, or cannot be.
func (o *operations) Rebuild(ctx context.Context, group string) error {
	if err := o.find(ctx, group); err != nil {
		return err
	}
	actor, _ := domain.ActorOf(ctx) // a permission was asked for
	started, ended := make(chan struct{}), make(chan error, 1)
	o.running.Go(func() {
		under := false
		err := o.engine.Rebuild(o.ctx, group, func(projections.Progress) {
			if !under {
				under = true
				o.begin(group, actor.UserID)
				close(started)
			}
		})
		if under {
			o.finish(group, err)
		}
		ended <- err
	})
	select {
	case <-started:
		return nil
	case err := <-ended:
		return refusal(group, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *operations) begin(group string, actor domain.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[group] = &admin.Rebuild{Actor: actor, StartedAt: time.Now().UTC()}
}

func (o *operations) finish(group string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now().UTC()
	o.last[group].FinishedAt, o.last[group].Failed = &now, err != nil
	if err != nil {
		o.log.Error("projections: a rebuild failed; the old tables stay", "group", group, "error", err)
	}
}

// refusal words what the engine refuses.
func refusal(group string, err error) error {
	if errors.Is(err, projections.ErrBusy) {
		return fault.New(fault.Conflict, "projection.busy", "group %s is being rebuilt or verified already", group).Because(err)
	}
	return err
}

// Verify implements the administration API's Operations.
func (o *operations) Verify(ctx context.Context, group string) (writeadmin.Verification, error) {
	if err := o.find(ctx, group); err != nil {
		return writeadmin.Verification{}, err
	}
	r, err := o.engine.Verify(ctx, group)
	if err != nil {
		return writeadmin.Verification{}, refusal(group, err)
	}
	v := writeadmin.Verification{Group: r.Group, Version: r.Version, Position: int64(r.Position), Rows: r.Rows, Differences: r.Differences,
		Examples: make([]writeadmin.Difference, len(r.Examples)), Seconds: r.Took.Seconds()}
	for i, d := range r.Examples {
		v.Examples[i] = writeadmin.Difference{Table: d.Table, Key: d.Key, Kind: d.Kind, Columns: append([]string{}, d.Columns...)}
	}
	return v, nil
}

// Skip implements the administration API's Operations.
func (o *operations) Skip(ctx context.Context, group string, event uuid.UUID, reason string) error {
	if err := o.find(ctx, group); err != nil {
		return err
	}
	actor, _ := domain.ActorOf(ctx) // a permission was asked for
	err := o.engine.Skip(ctx, group, projections.Skipped{EventID: event, Actor: actor.UserID.String(), Reason: reason})
	if errors.Is(err, projections.ErrNotStopped) {
		return fault.New(fault.Conflict, "projection.not-stopped", "group %s is not stopped at event %s", group, event).Because(err)
	}
	return err
}
