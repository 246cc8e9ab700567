package safeq

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Bounds of the history (contract safeq 7).
const (
	longestRange = 7 * 24 * time.Hour
	usualRange   = 24 * time.Hour
	tokenLife    = 24 * time.Hour
)

// History is a page of the history.
type History struct {
	Documents     []DocumentInfo `json:"documents"`
	RecordsOnPage int            `json:"recordsOnPage"`
	NextPageToken string         `json:"nextPageToken" doc:"Empty on the last page."`
	DateStart     string         `json:"dateStart"`
	DateEnd       string         `json:"dateEnd"`
	DomainName    string         `json:"domainName"`
	UserName      string         `json:"userName"`
	PortName      string         `json:"portName"`
}

type historyIn struct {
	MaxRecords httpx.Optional[int]       `query:"maxrecords" minimum:"1" maximum:"2000" doc:"200 when absent."`
	PageToken  string                    `query:"pagetoken" doc:"nextPageToken of the page before. It holds the whole query."`
	Next       string                    `query:"nextPageToken" doc:"Another name of pagetoken, which public clients use."`
	Start      httpx.Optional[time.Time] `query:"datestart"`
	End        httpx.Optional[time.Time] `query:"dateend" doc:"At most a week after datestart. The last 24 hours when both are absent."`
	DomainName string                    `query:"domainname" doc:"Of a sub-account. Absent: the account of the request and all below."`
	UserName   string                    `query:"username"`
	PortName   string                    `query:"portname" doc:"Of the printer."`
	Status     []int                     `query:"status" minimum:"0" maximum:"9"`
	JobType    string                    `query:"jobtype" enum:"PRINT,COPY,SCAN,FAX"`
}

// historyQuery is what a page token holds: the whole query and the place in it.
type historyQuery struct {
	Account    domain.ID `json:"a"` // of the request
	Target     domain.ID `json:"t"` // that was asked for
	Start      time.Time `json:"s"`
	End        time.Time `json:"e"`
	DomainName string    `json:"d,omitempty"`
	UserName   string    `json:"u,omitempty"`
	PortName   string    `json:"p,omitempty"`
	Status     []int     `json:"st,omitempty"`
	JobType    string    `json:"j,omitempty"`
	Limit      int       `json:"n"`
	Cursor     string    `json:"c,omitempty"`
	Expires    time.Time `json:"x"`
}

const tokenContext = "safeq/history"

func (r *Reads) seal(q historyQuery) (string, error) {
	text, err := json.Marshal(q)
	return base64.RawURLEncoding.EncodeToString(r.vault.Seal(tokenContext, text)), err
}

// open reads a page token. All that can be wrong with one is told alike.
func (r *Reads) open(token string, account domain.ID, now time.Time) (q historyQuery, err error) {
	sealed, bad := base64.RawURLEncoding.DecodeString(token)
	if bad == nil {
		var text []byte
		if text, bad = r.vault.Open(tokenContext, sealed); bad == nil {
			bad = json.Unmarshal(text, &q)
		}
	}
	if bad != nil || q.Account != account || !now.Before(q.Expires) {
		return q, fault.InvalidQuery("pagetoken", "is unknown or has expired")
	}
	return q, nil
}

// query is what a request asks for.
func (r *Reads) historyQuery(ctx context.Context, in *historyIn) (historyQuery, error) {
	account, now := CallerOf(ctx).Account, r.gate.Now()
	if token := cmp.Or(in.PageToken, in.Next); token != "" {
		q, err := r.open(token, account.ID, now)
		if err == nil && in.MaxRecords.Set {
			q.Limit = in.MaxRecords.Value
		}
		return q, err
	}
	q := historyQuery{Account: account.ID, Target: account.ID, DomainName: in.DomainName, UserName: in.UserName, PortName: in.PortName,
		Status: in.Status, JobType: in.JobType, Limit: in.MaxRecords.Or(200)}
	var err error
	if q.Start, q.End, err = timeRange(in.Start.Ptr(), in.End.Ptr(), now); err != nil {
		return q, err
	}
	if in.DomainName == "" {
		return q, nil
	}
	target, err := r.gate.AccountByDomain(ctx, in.DomainName)
	switch {
	case err == nil && slices.Contains(target.Path, account.ID):
		q.Target = target.ID
	case err == nil || fault.Is(err, fault.NotFound):
		return q, fault.InvalidQuery("domainname", "is none of this account's")
	}
	return q, err
}

// timeRange fills in what is missing of a range. Its end need not lie in the
// future, whatever the documents say: their own example has one that does not.
func timeRange(start, end *time.Time, now time.Time) (from, to time.Time, err error) {
	to = now
	if end != nil {
		to = *end
	}
	from = to.Add(-usualRange)
	if start != nil {
		from = *start
	}
	// What is recorded has microseconds.
	from, to = from.UTC().Truncate(time.Microsecond), to.UTC().Truncate(time.Microsecond)
	switch {
	case from.Year() < 1 || to.Year() > 9999:
		return from, to, fault.InvalidQuery("datestart", "is out of range")
	case !from.Before(to):
		return from, to, fault.InvalidQuery("datestart", "must lie before dateend")
	case to.Sub(from) > longestRange:
		return from, to, fault.InvalidQuery("dateend", "must not lie more than a week after datestart")
	}
	return from, to, nil
}

type printedForRow struct {
	ID domain.ID `json:"id" col:"id"`
}

var printedForShape = query.MustShape[printedForRow](query.MustDefine(query.Resource{
	Name: "user", Table: "rm_printing.users", Unscoped: true, // ids only, for a filter within a scope
	Fields: []query.Field{{Name: "userName", Column: "user_name", Folded: "user_name_f", Ops: query.Eq}},
}))

// filter is the query as one on documents; ok is false when nothing can match.
func (r *Reads) filter(ctx context.Context, q historyQuery) (filter query.Expr, ok bool, err error) {
	filter = query.All(query.Compare{Field: "created", Op: query.Ge, Value: q.Start}, query.Compare{Field: "created", Op: query.Le, Value: q.End}, oneOfStatuses(q.Status))
	if q.PortName != "" {
		filter = query.All(filter, query.Equals("port", q.PortName))
	}
	if q.JobType != "" {
		filter = query.All(filter, query.Equals("jobType", q.JobType))
	}
	if q.UserName == "" {
		return filter, true, nil
	}
	users, err := r.usersOfHistory(ctx, q)
	return query.All(filter, query.OneOf("user", users...)), len(users) > 0, err
}

// usersOfHistory are who had the name, deleted ones included.
func (r *Reads) usersOfHistory(ctx context.Context, q historyQuery) ([]domain.ID, error) {
	rows, err := query.FetchAll(ctx, r.reader, printedForShape, query.Request{Scope: query.Everything(), Filter: query.Equals("userName", q.UserName)})
	if err != nil {
		return nil, err
	}
	var ids []domain.ID
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	if person, err := r.PersonIn(ctx, q.Target, q.UserName, 0); err != nil || person == nil || slices.Contains(ids, person.ID) {
		return ids, err
	} else {
		return append(ids, person.ID), nil
	}
}

func (r *Reads) history(ctx context.Context, q historyQuery) (*History, error) {
	out := &History{Documents: []DocumentInfo{}, DateStart: instant(q.Start), DateEnd: instant(q.End), DomainName: q.DomainName, UserName: q.UserName, PortName: q.PortName}
	filter, possible, err := r.filter(ctx, q)
	if err != nil || !possible {
		return out, err
	}
	below, err := r.gate.Directory.Subtree(ctx, q.Target)
	if err != nil {
		return nil, err
	}
	where := query.Organizations(below...)
	if q.Target == directory.GlobalID {
		where = query.Everything()
	}
	rows, page, err := query.Fetch(ctx, r.reader, documentShape, query.Request{Scope: where, Filter: filter, Limit: q.Limit, Next: q.Cursor})
	if err != nil {
		return nil, err
	}
	if out.Documents, err = r.infos(ctx, rows); err != nil {
		return nil, err
	}
	out.RecordsOnPage = len(rows)
	if page.HasNext {
		q.Cursor, q.Expires = page.Next, r.gate.Now().Add(tokenLife)
		out.NextPageToken, err = r.seal(q)
	}
	return out, err
}

func instant(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }

func registerHistory(r *Reads) {
	type answer struct{ Body History }
	Register(r.api, httpx.Op{ID: "9", Method: http.MethodGet, Path: Base + "/documents/history", Summary: "Get the history of documents", Tags: []string{"Documents"},
		Description: "Newest first. Only for customer accounts."},
		Needs{Rights: []string{"ViewReport"}, Advanced: true},
		func(ctx context.Context, in *historyIn) (*answer, error) {
			if CallerOf(ctx).Account.Settings.Type != directory.Customer {
				return nil, fault.New(fault.Invalid, "account.type", "the history is there for customer accounts only")
			}
			q, err := r.historyQuery(ctx, in)
			if err != nil {
				return nil, err
			}
			page, err := r.history(ctx, q)
			if err != nil {
				return nil, err
			}
			return &answer{*page}, nil
		})
}
