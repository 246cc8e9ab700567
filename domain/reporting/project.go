package reporting

import (
	"slices"
	"time"

	"docket/domain"
)

// Report types and the formats each can be written in (known of Qalyptus: the
// eight of Excel and the words themselves; the other pairs are our choice).
var formatsByType = map[string][]string{
	"Excel":      {"Xlsx", "Xls", "Xlsm", "Csv", "Pdf", "Html", "Tiff", "Xps"},
	"Word":       {"Docx", "Doc", "Pdf", "Html", "Tiff", "Xps"},
	"PowerPoint": {"Pptx", "Ppt", "Pdf", "Html", "Tiff", "Xps"},
	"Html":       {"Html", "Pdf"},
	"QlikEntity": {"Png", "Jpeg", "Bmp", "Pdf"},
}

// ReportTypes are the known types, sorted.
func ReportTypes() []string {
	types := make([]string, 0, len(formatsByType))
	for t := range formatsByType {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}

// Formats a report type can be written in, nil for an unknown type.
func Formats(reportType string) []string { return formatsByType[reportType] }

// Report is a report of a project. Its content is made with a desktop tool.
type Report struct {
	ID            domain.ID `json:"id"`
	Name          string    `json:"name"`
	Description   string    `json:"description"`
	Type          string    `json:"type"`
	OutputFormats []string  `json:"outputFormats"`
	Template      *Blob     `json:"template,omitempty"`
}

// Blob refers to a stored file by its content.
type Blob struct {
	SHA256 string `json:"sha256"` // lower-case hexadecimal
	Name   string `json:"name"`   // file name it came with
	Size   int64  `json:"size"`   // bytes
}

// ProjectPublished adds a project with its reports.
type ProjectPublished struct {
	ID             domain.ID `json:"id"`
	OrganizationID domain.ID `json:"organizationId"`
	OwnerID        domain.ID `json:"ownerId"`
	Name           string    `json:"name"`
	Description    string    `json:"description"`
	Reports        []Report  `json:"reports"`
	PublishedAt    time.Time `json:"publishedAt"`
}

// ProjectDeleted ends a project and all that hangs on it: reports and tasks.
type ProjectDeleted struct {
	ID          domain.ID `json:"id"`
	DeleteFiles bool      `json:"deleteFiles"` // what its tasks published to the hub goes too
	DeletedAt   time.Time `json:"deletedAt"`
}

func (ProjectPublished) EventType() string { return "reporting.project-published" }
func (ProjectDeleted) EventType() string   { return "reporting.project-deleted" }

// Project is a project as it is.
type Project struct {
	ID             domain.ID
	OrganizationID domain.ID
	OwnerID        domain.ID
	Name           string
	Description    string
	Reports        []Report
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (p Project) Apply(e domain.Event) Project {
	switch e := e.(type) {
	case ProjectPublished:
		return Project{ID: e.ID, OrganizationID: e.OrganizationID, OwnerID: e.OwnerID, Name: e.Name, Description: e.Description, Reports: e.Reports,
			CreatedAt: e.PublishedAt, ModifiedAt: e.PublishedAt, Live: true}
	case ProjectDeleted:
		p.Live = false
	}
	return p
}

// Exists implements domain.State.
func (p Project) Exists() bool { return p.Live }

// Organizations implements domain.State.
func (p Project) Organizations() []domain.ID { return []domain.ID{p.OrganizationID} }

// Keys implements domain.State: a project's name is unique in its organization.
func (p Project) Keys() []domain.Key {
	if !p.Live {
		return nil
	}
	return []domain.Key{{Kind: "project-name", Scope: p.OrganizationID.String(), Value: domain.Normal(p.Name)}}
}
