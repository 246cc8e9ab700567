package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// allSource is the source of groups that consume the whole log. No stream can have the name.
const allSource = "$all"

// groupKey names a consumer group: persistent subscriptions are groups of consumers that share a stream.
type groupKey struct{ Source, Name string }

// Streams the groups keep their state in, under the names EventStoreDB gives them.
const (
	configStream = "$persistentSubscriptionConfig"
	groupPrefix  = "$persistentsubscription-"
)

func (k groupKey) String() string           { return k.Source + "::" + k.Name }
func (k groupKey) checkpointStream() string { return groupPrefix + k.String() + "-checkpoint" }
func (k groupKey) parkedStream() string     { return groupPrefix + k.String() + "-parked" }

// groupConfig is what is kept of a group. Places are revisions of the source or, for the whole log, positions.
type groupConfig struct {
	groupKey
	After     int64        // the group starts behind this place
	StartFrom string       // as it was asked for
	Filter    *groupFilter `json:",omitempty"`
	groupSettings
}

// groupFilter selects events of the whole log.
type groupFilter struct {
	OnStream bool
	Regex    string
	Prefixes []string
}

// groupSettings are what clients choose. Times are in milliseconds.
type groupSettings struct {
	ResolveLinks, ExtraStatistics              bool
	MaxRetryCount, MaxSubscriberCount          int32
	MinCheckpointCount, MaxCheckpointCount     int32
	LiveBufferSize, ReadBatchSize, HistorySize int32
	MessageTimeout, CheckpointAfter            int32
	Strategy                                   string
}

// Strategies by which events are handed to consumers.
const (
	dispatchToSingle    = "DispatchToSingle"
	roundRobin          = "RoundRobin"
	pinned              = "Pinned"
	pinnedByCorrelation = "PinnedByCorrelation"
)

// filter is the group's filter of the whole log.
func (c *groupConfig) filter() (*eventlog.Filter, *problem) {
	f := &eventlog.Filter{ExcludeStreams: hiddenStreams}
	if c.Filter == nil {
		return f, nil
	}
	e := &streams.ReadReq_Options_FilterOptions_Expression{Regex: c.Filter.Regex, Prefix: c.Filter.Prefixes}
	var p *problem
	if c.Filter.OnStream {
		f.StreamPrefixes, f.StreamRegex, p = parseExpression(e)
	} else {
		f.TypePrefixes, f.TypeRegex, p = parseExpression(e)
	}
	return f, p
}

// groups are all consumer groups of the store.
type groups struct {
	server *Server
	log    *eventlog.Log

	mu  sync.Mutex
	all map[groupKey]*group // nil until loaded
}

// find returns a group.
func (s *groups) find(key groupKey) (*group, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.load(); p != nil {
		return nil, p
	}
	if g := s.all[key]; g != nil {
		return g, nil
	}
	return nil, noGroup(key)
}

// list returns the groups of a source, or all of them for "", sorted.
func (s *groups) list(source string) ([]*group, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.load(); p != nil {
		return nil, p
	}
	var out []*group
	for key, g := range s.all {
		if source == "" || key.Source == source {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *group) int { return strings.Compare(a.key.String(), b.key.String()) })
	return out, nil
}

// load reads the groups from the log at their first use.
func (s *groups) load() *problem {
	if s.all != nil {
		return nil
	}
	all := map[groupKey]*group{}
	e, err := s.newest(configStream)
	if err != nil {
		return s.server.explain(s.server.ctx, err)
	}
	if e != nil {
		var configs []groupConfig
		if err := json.Unmarshal(e.Data, &configs); err != nil {
			return s.server.explain(s.server.ctx, fmt.Errorf("reading the persistent subscriptions: %w", err))
		}
		for _, c := range configs {
			g, err := s.open(c)
			if err != nil {
				return s.server.explain(s.server.ctx, err)
			}
			all[c.groupKey] = g
		}
	}
	s.all = all
	return nil
}

// newest is the last event of a stream, nil when there is none.
func (s *groups) newest(stream string) (*eventlog.Event, error) {
	for e, err := range s.log.ReadStream(s.server.ctx, stream, eventlog.StreamRead{From: eventlog.FromEnd, Backwards: true, Limit: 1}) {
		var missing *eventlog.StreamNotFoundError
		if errors.As(err, &missing) {
			return nil, nil
		}
		return e, err
	}
	return nil, nil
}

// open makes a group that goes on at its checkpoint.
func (s *groups) open(c groupConfig) (*group, error) {
	at := c.After
	e, err := s.newest(c.checkpointStream())
	if err != nil {
		return nil, err
	}
	if e != nil {
		if at, err = strconv.ParseInt(string(e.Data), 10, 64); err != nil {
			return nil, fmt.Errorf("checkpoint of %s: %w", c.groupKey, err)
		}
	}
	return newGroup(s, c, at, e != nil), nil
}

// keep writes all groups down.
func (s *groups) keep(all map[groupKey]*group) *problem {
	configs := []groupConfig{}
	for _, g := range all {
		configs = append(configs, g.settings())
	}
	slices.SortFunc(configs, func(a, b groupConfig) int { return strings.Compare(a.String(), b.String()) })
	return s.write(configStream, "$PersistentConfig", configs, nil)
}

// write appends an event of the groups' own.
func (s *groups) write(stream, typ string, data, meta any) *problem {
	e := eventlog.EventData{ID: uuid.New(), Type: typ, JSON: true, Metadata: []byte{}}
	var err error
	if link, ok := data.(string); ok {
		e.Data, e.JSON = []byte(link), false
	} else if e.Data, err = json.Marshal(data); err != nil {
		return s.server.explain(s.server.ctx, err)
	}
	if meta != nil {
		if e.Metadata, err = json.Marshal(meta); err != nil {
			return s.server.explain(s.server.ctx, err)
		}
	}
	s.server.writing.RLock()
	defer s.server.writing.RUnlock()
	// Not the call's context: what was begun shall end, one way or the other.
	if _, err := s.log.Append(context.Background(), stream, eventlog.Any, e); err != nil {
		return s.server.explain(s.server.ctx, err)
	}
	return nil
}

// create adds a group.
func (s *groups) create(c groupConfig) *problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.load(); p != nil {
		return p
	}
	if s.all[c.groupKey] != nil {
		return groupProblem(codes.AlreadyExists, "persistent-subscription-exists", c.groupKey, "exists")
	}
	g := newGroup(s, c, c.After, false)
	s.all[c.groupKey] = g
	p := s.keep(s.all)
	if p != nil {
		delete(s.all, c.groupKey)
	}
	return p
}

// update gives a group other settings. Its consumers are dropped and find it at its checkpoint, or at the new start when
// there is none.
func (s *groups) update(c groupConfig) *problem {
	g, p := s.find(c.groupKey)
	if p != nil {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := g.settings()
	c.Filter = before.Filter
	g.restart(&c)
	if p := s.keep(s.all); p != nil {
		g.restart(&before)
		return p
	}
	return nil
}

// remove deletes a group and what it kept.
func (s *groups) remove(key groupKey) *problem {
	g, p := s.find(key)
	if p != nil {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
	if p := s.keep(s.all); p != nil {
		s.all[key] = g
		return p
	}
	g.end()
	for _, stream := range []string{key.checkpointStream(), key.parkedStream()} {
		_, err := s.log.SoftDelete(s.server.ctx, stream, eventlog.Any)
		var missing *eventlog.WrongExpectedVersionError
		if err != nil && !errors.As(err, &missing) {
			return s.server.explain(s.server.ctx, err)
		}
	}
	return nil
}

// restart drops all consumers of all groups, which then go on at their checkpoints.
func (s *groups) restart() *problem {
	all, p := s.list("")
	for _, g := range all {
		g.restart(nil)
	}
	return p
}

func groupProblem(code codes.Code, exception string, key groupKey, what string) *problem {
	return &problem{
		code: code, text: fmt.Sprintf("Subscription group %s on stream %s %s.", key.Name, key.Source, what),
		trailer: metadata.Pairs("exception", exception, "stream-name", headerValue(key.Source), "group-name", headerValue(key.Name)),
	}
}

func noGroup(key groupKey) *problem {
	return groupProblem(codes.NotFound, "persistent-subscription-does-not-exist", key, "does not exist")
}
