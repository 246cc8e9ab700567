package embedded

import (
	"context"
	"errors"
	"iter"
	"math"
	"regexp"
	"strconv"
	"strings"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
)

// reading is one Read call: a read or a subscription of a stream or of the whole log.
type reading struct {
	*streamsServer
	ctx       context.Context
	out       grpc.ServerStream
	opts      *streams.ReadReq_Options
	backwards bool
	links     bool
	textUUID  bool
}

// Read answers reads and subscriptions.
func (s *streamsServer) Read(req *streams.ReadReq, out streams.Streams_ReadServer) error {
	// Reads end with the call, and with the server.
	ctx, cancel := context.WithCancelCause(out.Context())
	defer cancel(nil)
	stop := context.AfterFunc(s.server.ctx, func() { cancel(context.Cause(s.server.ctx)) })
	defer stop()
	opts := req.GetOptions()
	_, text := opts.GetUuidOption().GetContent().(*streams.ReadReq_Options_UUIDOption_String_)
	r := &reading{
		streamsServer: s, ctx: ctx, out: out, opts: opts, links: opts.GetResolveLinks(), textUUID: text,
		backwards: opts.GetReadDirection() == streams.ReadReq_Options_Backwards,
	}
	p, err := r.run()
	if err == nil && p == nil {
		return nil
	}
	if p == nil {
		if sent := (*sendError)(nil); errors.As(err, &sent) {
			return sent.error
		}
		p = s.server.explain(ctx, err)
	}
	out.SetTrailer(p.trailer)
	return p.err()
}

// sendError is an error of the transport.
type sendError struct{ error }

func (r *reading) run() (*problem, error) {
	subscribe := false
	switch c := r.opts.GetCountOption().(type) {
	case *streams.ReadReq_Options_Count:
		if c.Count == 0 {
			return invalid("the number of events to read must be positive"), nil
		}
	case *streams.ReadReq_Options_Subscription:
		subscribe = true
		if r.backwards {
			return invalid("a subscription cannot run backwards"), nil
		}
	default:
		return invalid("a count or a subscription is required"), nil
	}
	filter, window, p := parseFilter(r.opts.GetFilter())
	if p != nil {
		return p, nil
	}
	if subscribe && r.opts.GetFilter() != nil && window == 0 {
		return invalid("the search window and the checkpoint interval must be positive"), nil
	}
	switch o := r.opts.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		if r.opts.GetFilter() != nil {
			return invalid("only $all can be filtered"), nil
		}
		if subscribe {
			return nil, r.subscribeStream(o.Stream)
		}
		return nil, r.readStream(o.Stream)
	case *streams.ReadReq_Options_All:
		if subscribe {
			return nil, r.subscribeAll(o.All, filter, window)
		}
		return nil, r.readAll(o.All, filter)
	}
	return invalid("a stream or $all is required"), nil
}

// send passes a message to the transport.
func (r *reading) send(m any) error {
	if err := r.out.SendMsg(m); err != nil {
		return &sendError{err}
	}
	return nil
}

func (r *reading) sendEvent(e *eventlog.Event) error {
	if !r.links || e.Type != eventlog.TypeLink {
		return r.send(eventFrame(e, nil, r.textUUID))
	}
	target, err := resolve(r.log, e)
	if err != nil {
		return err
	}
	return r.send(eventFrame(target, e, r.textUUID))
}

// resolve finds the event a link names as "revision@stream", nil when there is none to be seen.
func resolve(log *eventlog.Log, link *eventlog.Event) (*eventlog.Event, error) {
	number, stream, ok := strings.Cut(string(link.Data), "@")
	rev, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return nil, nil
	}
	e, err := log.ReadEvent(stream, rev)
	var (
		missing *eventlog.StreamNotFoundError
		deleted *eventlog.StreamDeletedError
		bad     *eventlog.InvalidError
	)
	if errors.As(err, &missing) || errors.As(err, &deleted) || errors.As(err, &bad) {
		return nil, nil
	}
	return e, err
}

func (r *reading) sendAll(events iter.Seq2[*eventlog.Event, error]) error {
	for e, err := range events {
		if err != nil {
			return err
		}
		if err := r.sendEvent(e); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) readStream(o *streams.ReadReq_Options_StreamOptions) error {
	name := o.GetStreamIdentifier().GetStreamName()
	q := eventlog.StreamRead{Backwards: r.backwards, Limit: r.opts.GetCount()}
	switch f := o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		q.From = clamp(f.Revision)
	case *streams.ReadReq_Options_StreamOptions_End:
		q.From = eventlog.FromEnd
	}
	err := r.sendAll(r.log.ReadStream(r.ctx, string(name), q))
	var missing *eventlog.StreamNotFoundError
	if errors.As(err, &missing) {
		return r.send(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{StreamNotFound: &streams.ReadResp_StreamNotFound{
			StreamIdentifier: &shared.StreamIdentifier{StreamName: name}}}})
	}
	return err
}

// clamp keeps revisions within what a stream can have.
func clamp(revision uint64) int64 { return int64(min(revision, math.MaxInt64)) }

func (r *reading) readAll(o *streams.ReadReq_Options_AllOptions, filter *eventlog.Filter) error {
	q := eventlog.AllRead{Backwards: r.backwards, Limit: r.opts.GetCount(), Filter: filter}
	switch f := o.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		q.From = f.Position.GetCommitPosition()
	case *streams.ReadReq_Options_AllOptions_End:
		q.From = eventlog.End
	}
	return r.sendAll(r.log.ReadAll(r.ctx, q))
}

func (r *reading) confirm() error {
	return r.send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{
		Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: uuid.NewString()}}})
}

func (r *reading) subscribeAll(o *streams.ReadReq_Options_AllOptions, filter *eventlog.Filter, window int) error {
	q := eventlog.AllFollow{Filter: filter, CheckpointEvery: window}
	switch f := o.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		q.After = f.Position.GetCommitPosition()
	case *streams.ReadReq_Options_AllOptions_End:
		q.After = eventlog.End
	}
	cursor := r.log.FollowAll(q)
	if err := r.confirm(); err != nil {
		return err
	}
	for {
		d, err := cursor.Next(r.ctx)
		if derr := r.deliver(d); derr != nil {
			return derr
		}
		if err != nil {
			return err
		}
		if d.CaughtUp {
			if err := r.send(caughtUpFrame(0, cursor.Position(), true)); err != nil {
				return err
			}
		}
	}
}

// deliver sends events and a checkpoint.
func (r *reading) deliver(d eventlog.Delivery) error {
	for _, e := range d.Events {
		if err := r.sendEvent(e); err != nil {
			return err
		}
	}
	if d.Checkpoint != 0 {
		return r.send(checkpointFrame(d.Checkpoint))
	}
	return nil
}

func (r *reading) subscribeStream(o *streams.ReadReq_Options_StreamOptions) error {
	after := int64(-1)
	switch f := o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		after = clamp(f.Revision)
	case *streams.ReadReq_Options_StreamOptions_End:
		after = eventlog.FromEnd
	}
	cursor, err := r.log.FollowStream(string(o.GetStreamIdentifier().GetStreamName()), after)
	if err != nil {
		return err
	}
	defer cursor.Close()
	if err := r.confirm(); err != nil {
		return err
	}
	for {
		d, err := cursor.Next(r.ctx)
		if derr := r.deliver(d); derr != nil {
			return derr
		}
		if err != nil {
			return err
		}
		if d.CaughtUp {
			if err := r.send(caughtUpFrame(cursor.Revision(), 0, false)); err != nil {
				return err
			}
		}
	}
}

// defaultWindow is how many events EventStoreDB considers between checkpoints when a client names no window.
const defaultWindow = 32

// excludeSystem is the expression clients send to leave out system events. It is common enough to do without a regular
// expression.
const excludeSystem = `^[^\$].*`

// hiddenStreams are not part of the whole log as clients see it: groups on the whole log keep their own state there.
var hiddenStreams = []string{groupPrefix + allSource + "::"}

// parseFilter returns the filter and after how many considered events a subscription is due a checkpoint, 0 for never.
func parseFilter(f *streams.ReadReq_Options_FilterOptions) (*eventlog.Filter, int, *problem) {
	if f == nil {
		return &eventlog.Filter{ExcludeStreams: hiddenStreams}, 0, nil
	}
	window := uint64(defaultWindow)
	if w, ok := f.GetWindow().(*streams.ReadReq_Options_FilterOptions_Max); ok {
		window = uint64(w.Max)
	}
	every := window * uint64(f.GetCheckpointIntervalMultiplier())
	out := &eventlog.Filter{ExcludeStreams: hiddenStreams}
	var p *problem
	switch e := f.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		out.StreamPrefixes, out.StreamRegex, p = parseExpression(e.StreamIdentifier)
	case *streams.ReadReq_Options_FilterOptions_EventType:
		if e.EventType.GetRegex() == excludeSystem {
			out.ExcludeTypes = []string{"$"}
			break
		}
		out.TypePrefixes, out.TypeRegex, p = parseExpression(e.EventType)
	default:
		p = invalid("a filter needs a stream or event type expression")
	}
	return out, int(min(every, math.MaxInt32)), p
}

func parseExpression(e *streams.ReadReq_Options_FilterOptions_Expression) ([]string, *regexp.Regexp, *problem) {
	if len(e.GetPrefix()) > 0 {
		return e.GetPrefix(), nil, nil
	}
	if e.GetRegex() == "" {
		return nil, nil, invalid("a filter needs prefixes or a regular expression")
	}
	re, err := regexp.Compile(e.GetRegex())
	if err != nil {
		return nil, nil, invalid("the filter's regular expression is not valid: " + err.Error())
	}
	return nil, re, nil
}
