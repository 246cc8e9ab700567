package safeq

import (
	"context"
	"net/http"
	"slices"
	"time"

	"docket/domain"
	"docket/domain/printing"
	"docket/internal/httpx"
	"docket/readapi/query"

	"github.com/google/uuid"
)

// DocumentInfo is a document, or a job that a device reported.
type DocumentInfo struct {
	ProviderID     int32     `json:"providerId"`
	UUID           uuid.UUID `json:"uuid"`
	DocumentName   string    `json:"documentName"`
	DocumentType   int       `json:"documentType" doc:"Always 0."`
	UserName       string    `json:"userName"`
	TotalPages     int32     `json:"totalPages"`
	ColorPages     int32     `json:"colorPages"`
	Duplex         int       `json:"duplex" doc:"0 simplex, 1 long edge, 2 short edge."`
	Copies         int32     `json:"copies"`
	Grayscale      bool      `json:"grayscale"`
	PaperSize      string    `json:"paperSize"`
	DateTime       int64     `json:"dateTime" doc:"Of its creation, in milliseconds since 1970."`
	StorageOnline  bool      `json:"storageOnline" doc:"Its content is there."`
	Secure         bool      `json:"secure" doc:"It waits for its release."`
	Tags           []TagInfo `json:"tags"`
	Collate        bool      `json:"collate" doc:"Always true: copies come one after the other."`
	Status         int       `json:"status" doc:"0 READY, 1 PRINTED, 2 DELETED, 3 EXPIRED, 4 FAILED, 5 RECEIVED, 6 AWAITING_CONVERSION, 7 CONVERTING, 8 CONVERSION_FAILED, 9 STORED."`
	StatusMessage  string    `json:"statusMessage,omitempty" doc:"Why it failed. Not documented by the vendor."`
	OutputPortID   int32     `json:"outputPortId"`
	OutputPortName string    `json:"outputPortName"`
	JobType        string    `json:"jobType" doc:"PRINT, COPY, SCAN or FAX."`
}

// TagInfo says what a document's user belongs to.
type TagInfo struct {
	TagType int    `json:"tagType" doc:"0 department, 1 group."`
	Name    string `json:"name"`
}

type documentRow struct {
	ID               domain.ID `json:"id" col:"id"`
	UserID           domain.ID `json:"userId" col:"user_id"`
	UserName         *string   `json:"userName" col:"user.user_name"`
	FullName         *string   `json:"fullName" col:"user.full_name"`
	Title            string    `json:"title" col:"title"`
	JobType          string    `json:"jobType" col:"job_type"`
	Status           int       `json:"status" col:"status"`
	Reason           string    `json:"reason" col:"reason"`
	TotalPages       int32     `json:"totalPages" col:"total_pages"`
	ColorPages       int32     `json:"colorPages" col:"color_pages"`
	PaperSize        string    `json:"paperSize" col:"paper_size"`
	Copies           int32     `json:"copies" col:"copies"`
	Grayscale        bool      `json:"grayscale" col:"grayscale"`
	Duplex           int       `json:"duplex" col:"duplex"`
	OutputPortNumber int32     `json:"outputPortNumber" col:"output_port_number"`
	OutputPortName   string    `json:"outputPortName" col:"output_port_name"`
	HasContent       bool      `json:"hasContent" col:"has_content"`
	CreatedAt        time.Time `json:"createdAt" col:"created_at"`
}

var documentShape = query.MustShape[documentRow](query.MustDefine(query.Resource{
	Name: "document", Table: "rm_printing.documents", ScopeColumn: "organization_id",
	Joins: []query.Join{{Name: "user", Table: "rm_printing.users", FK: "user_id"}},
	Fields: []query.Field{
		{Name: "created", Column: "created_at", Kind: query.Time, Ops: query.Range, Sortable: true},
		{Name: "user", Column: "user_id", Kind: query.UUID, Ops: query.Eq | query.In},
		{Name: "organization", Column: "organization_id", Kind: query.UUID, Ops: query.Eq | query.In},
		{Name: "port", Column: "output_port_name", Exact: true, Ops: query.Eq},
		{Name: "status", Column: "status", Kind: query.Int, Ops: query.Eq | query.In},
		{Name: "jobType", Column: "job_type", Exact: true, Ops: query.Eq},
	},
	DefaultSort: query.Sort{Field: "created", Desc: true},
	Indexes:     []string{"organization_id,created_at", "user_id,created_at", "user_id,status,created_at", "organization_id,status,created_at", "output_port_name,created_at"},
}))

// ownerRow is what a document shows of its user.
type ownerRow struct {
	ID         domain.ID `json:"id" col:"id"`
	Source     string    `json:"source" col:"source"`
	UserName   string    `json:"userName" col:"user_name"`
	Email      string    `json:"email" col:"email"`
	Department string    `json:"department" col:"department"`
	Groups     []string  `json:"groups" col:"group_names,json"`
}

var ownerShape = query.MustShape[ownerRow](query.MustDefine(query.Resource{
	Name: "owner", Table: "rm_directory.users", Unscoped: true, // who may see a document may see whose it is
	Fields: []query.Field{{Name: "id", Column: "id", Kind: query.UUID, Ops: query.In}},
}), query.Virtual("group_names", `(select coalesce(jsonb_agg(g.name order by g.name), '[]') from rm_directory.user_groups m join rm_directory.groups g on g.id = m.group_id where m.user_id = t.id)`))

// infos shows documents with what is known of their users now.
func (r *Reads) infos(ctx context.Context, rows []documentRow) ([]DocumentInfo, error) {
	out := make([]DocumentInfo, len(rows))
	if len(rows) == 0 {
		return out, nil
	}
	providers, err := r.Providers(ctx)
	if err != nil {
		return nil, err
	}
	var ids []domain.ID
	for _, d := range rows {
		ids = append(ids, d.UserID)
	}
	slices.SortFunc(ids, domain.CompareIDs)
	found, err := query.FetchAll(ctx, r.reader, ownerShape, query.Request{Scope: query.Everything(), Filter: query.OneOf("id", slices.Compact(ids)...)})
	if err != nil {
		return nil, err
	}
	owners := make(map[domain.ID]ownerRow, len(found))
	for _, o := range found {
		owners[o.ID] = o
	}
	for i, d := range rows {
		owner, known := owners[d.UserID]
		out[i] = d.info(owner, known, providers)
	}
	return out, nil
}

func (d documentRow) info(owner ownerRow, known bool, providers Providers) DocumentInfo {
	out := DocumentInfo{ProviderID: LocalProvider, UUID: d.ID, DocumentName: d.Title, TotalPages: d.TotalPages, ColorPages: d.ColorPages, Duplex: d.Duplex,
		Copies: d.Copies, Grayscale: d.Grayscale, PaperSize: d.PaperSize, DateTime: d.CreatedAt.UnixMilli(), StorageOnline: d.HasContent,
		Secure: d.HasContent && printing.Status(d.Status).Releasable(), Tags: []TagInfo{}, Collate: true, Status: d.Status, StatusMessage: d.Reason,
		OutputPortID: d.OutputPortNumber, OutputPortName: d.OutputPortName, JobType: d.JobType}
	for _, name := range []*string{d.UserName, d.FullName} {
		if out.UserName == "" && name != nil {
			out.UserName = *name
		}
	}
	if !known {
		return out
	}
	out.ProviderID = providers.ID(owner.Source)
	if owner.UserName == "" && owner.Email != "" {
		out.UserName = owner.Email
	}
	if owner.Department != "" {
		out.Tags = append(out.Tags, TagInfo{0, owner.Department})
	}
	for _, name := range owner.Groups {
		out.Tags = append(out.Tags, TagInfo{1, name})
	}
	return out
}

// Document shows one document that the caller may see by having written it.
func (r *Reads) Document(ctx context.Context, id domain.ID) (DocumentInfo, error) {
	row, err := query.FetchOne(ctx, r.reader, documentShape, query.Request{Scope: query.Everything()}, id)
	if err != nil {
		return DocumentInfo{}, err
	}
	all, err := r.infos(ctx, []documentRow{row})
	if err != nil {
		return DocumentInfo{}, err
	}
	return all[0], nil
}

// DocumentOf is a document as the command side knows it.
func DocumentOf(d printing.Document, userName string) DocumentInfo {
	return DocumentInfo{ProviderID: LocalProvider, UUID: d.ID, DocumentName: d.Title, UserName: userName, Duplex: int(d.Options.Duplex), Copies: d.Options.Copies,
		Grayscale: d.Options.Grayscale, DateTime: d.CreatedAt.UnixMilli(), StorageOnline: d.Status.HasContent(), Tags: []TagInfo{}, Collate: true,
		Status: int(d.Status), JobType: string(d.JobType)}
}

// Waiting are documents of a user in certain statuses, the newest first.
func (r *Reads) Waiting(ctx context.Context, users []domain.ID, statuses []int, limit int) ([]domain.ID, error) {
	rows, err := r.documents(ctx, users, statuses, limit)
	ids := make([]domain.ID, len(rows))
	for i, d := range rows {
		ids[i] = d.ID
	}
	return ids, err
}

func (r *Reads) documents(ctx context.Context, users []domain.ID, statuses []int, limit int) ([]documentRow, error) {
	rows, _, err := query.Fetch(ctx, r.reader, documentShape, query.Request{Scope: scope(ctx), Page: 1, Size: limit,
		Filter: query.All(query.OneOf("user", users...), oneOfStatuses(statuses))})
	return rows, err
}

func oneOfStatuses(statuses []int) query.Expr {
	if len(statuses) == 0 {
		return nil
	}
	values := make([]int64, len(statuses))
	for i, s := range statuses {
		values[i] = int64(s)
	}
	return query.OneOf("status", values...)
}

func registerDocuments(r *Reads) {
	type list struct {
		Status     []int `query:"status" minimum:"0" maximum:"9" doc:"READY (0) when absent."`
		MaxRecords int   `query:"maxRecords" default:"50" minimum:"1" maximum:"500"`
	}
	type answer struct{ Body []DocumentInfo }
	Register(r.api, httpx.Op{ID: "8", Method: http.MethodGet, Path: Base + "/documents", Summary: "Get a user's documents", Tags: []string{"Documents"}},
		Needs{Class: UserOnly, Rights: []string{"ViewJob"}, Trusted: true},
		func(ctx context.Context, in *list) (*answer, error) {
			owners, err := r.Owners(ctx, *CallerOf(ctx).UserID)
			if err != nil {
				return nil, err
			}
			if len(in.Status) == 0 {
				in.Status = []int{int(printing.Ready)}
			}
			rows, err := r.documents(ctx, owners, in.Status, in.MaxRecords)
			if err != nil {
				return nil, err
			}
			out, err := r.infos(ctx, rows)
			return &answer{out}, err
		})
}
