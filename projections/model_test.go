package projections

import (
	"encoding/json"
	"time"

	"docket/domain"
	"docket/eventstore"
	"github.com/google/uuid"
)

// A small model that uses every kind of handler: projects with tasks, labels on
// tasks, and an organization tree with its closure.

type (
	projectCreated struct {
		Name string `json:"name"`
		Org  uuid.UUID
	}
	projectRenamed struct{ Name string }
	projectDeleted struct{}
	projectMoved   struct{ Org uuid.UUID }
	taskCreated    struct {
		Project uuid.UUID
		Name    string
		Due     *time.Time
		Tags    []string
	}
	taskRenamed  struct{ Name string }
	taskTouched  struct{} // changes nothing in the row
	taskTagged   struct{ Tag string }
	taskMoved    struct{ Project uuid.UUID }
	taskDeleted  struct{}
	tasksClosed  struct{ Tasks []uuid.UUID }
	tasksRemoved struct{ Tasks []uuid.UUID }
	labelled     struct{ Labels []string }
	unlabelled   struct{ Label string }
	orgCreated   struct{ Parent *uuid.UUID }
	orgMoved     struct{ Parent uuid.UUID }
	noted        struct{ Text string }
	poisoned     struct{ How string }
	foreign      struct{}
)

func (projectCreated) EventType() string { return "test.project-created" }
func (projectRenamed) EventType() string { return "test.project-renamed" }
func (projectDeleted) EventType() string { return "test.project-deleted" }
func (projectMoved) EventType() string   { return "test.project-moved" }
func (taskCreated) EventType() string    { return "test.task-created" }
func (taskRenamed) EventType() string    { return "test.task-renamed" }
func (taskTouched) EventType() string    { return "test.task-touched" }
func (taskTagged) EventType() string     { return "test.task-tagged" }
func (taskMoved) EventType() string      { return "test.task-moved" }
func (taskDeleted) EventType() string    { return "test.task-deleted" }
func (tasksClosed) EventType() string    { return "test.tasks-closed" }
func (tasksRemoved) EventType() string   { return "test.tasks-removed" }
func (labelled) EventType() string       { return "test.labelled" }
func (unlabelled) EventType() string     { return "test.unlabelled" }
func (orgCreated) EventType() string     { return "test.org-created" }
func (orgMoved) EventType() string       { return "test.org-moved" }
func (noted) EventType() string          { return "test.noted" }
func (poisoned) EventType() string       { return "test.poisoned" }
func (foreign) EventType() string        { return "other.thing" }

func newCodec() *eventstore.Codec {
	return eventstore.NewCodec(projectCreated{}, projectRenamed{}, projectDeleted{}, projectMoved{}, taskCreated{}, taskRenamed{}, taskTouched{},
		taskTagged{}, taskMoved{}, taskDeleted{}, tasksClosed{}, tasksRemoved{}, labelled{}, unlabelled{}, orgCreated{}, orgMoved{},
		noted{}, poisoned{}, foreign{})
}

type status string

type details struct {
	Words map[string]int `json:"words"`
}

type projectRow struct {
	ID    uuid.UUID `db:"id,pk"`
	Org   uuid.UUID `db:"org_id"`
	Name  string    `db:"name"`
	NameF string    `db:"name_f,fold"`
	stamp
}

// stamp is shared by rows.
type stamp struct {
	Revision  int64     `db:"revision"`
	CreatedAt time.Time `db:"created_at"`
}

type taskRow struct {
	ID           uuid.UUID       `db:"id,pk"`
	ProjectID    *uuid.UUID      `db:"project_id"`
	OrgID        *uuid.UUID      `db:"org_id"`
	ProjectName  *string         `db:"project_name"`
	ProjectNameF string          `db:"project_name_f,fold"`
	Name         string          `db:"name"`
	NameF        string          `db:"name_f,fold"`
	Status       status          `db:"status"`
	Done         bool            `db:"done"`
	Changes      int32           `db:"changes"`
	Due          *time.Time      `db:"due"`
	Tags         []string        `db:"tags"`
	Watchers     []uuid.UUID     `db:"watchers"`
	Details      details         `db:"details,json"`
	Raw          json.RawMessage `db:"raw,json"`
	Score        float64         `db:"score"`
	stamp
}

type labelRow struct {
	TaskID uuid.UUID `db:"task_id,pk"`
	Label  string    `db:"label,pk"`
}

type labelKey struct {
	Task  uuid.UUID
	Label string
}

type closureRow struct {
	Above uuid.UUID `db:"above,pk"`
	Below uuid.UUID `db:"below,pk"`
	Depth int       `db:"depth"`
}

// model is one independent declaration of the group; tests that change the
// version build another.
type model struct {
	group    *Group
	projects *Table[projectRow]
	tasks    *Table[taskRow]
	labels   *Table[labelRow]
	closure  *Table[closureRow]
}

// newModel declares the model; poison decides what a poisoned event does.
func newModel(name string, more ...Part) *model {
	m := &model{
		projects: NewTable[projectRow]("projects", Index("name_f", "id"), Index("name"), Trigram("name_f"), CountBy("org_id")),
		tasks: NewTable[taskRow]("tasks", Index("name_f", "id"), Trigram("name_f", "project_name_f"), Reverse("name_f"),
			IndexWhere("done", "created_at", "id"), CountBy("org_id"), CountBy("org_id", "status"), CountBy("done")),
		labels:  NewTable[labelRow]("labels", Unique("label", "task_id"), CountBy("label")),
		closure: NewTable[closureRow]("closure", LookUpBy("below"), LookUpBy("above")),
	}
	parts := Parts{m.projects, m.tasks, m.labels, m.closure, m.projectHandlers(), m.taskHandlers(), m.labelHandlers(), m.orgHandlers(), Parts(more),
		Ignore(noted{})}
	m.group = NewGroup(name, eventstore.Filter{TypePrefixes: []string{"test."}}, parts)
	return m
}

func stampOf(rec Rec) stamp { return stamp{Revision: int64(rec.Revision), CreatedAt: rec.Created} }

func (m *model) projectHandlers() Part {
	return Parts{
		Put(m.projects, func(e projectCreated, rec Rec) projectRow {
			return projectRow{ID: rec.StreamID(), Org: e.Org, Name: e.Name, stamp: stampOf(rec)}
		}),
		Update(m.projects, ByStream[projectRenamed], func(row *projectRow, e projectRenamed, rec Rec) {
			row.Name, row.Revision = e.Name, int64(rec.Revision)
		}),
		SetWhere(m.tasks, "project_id", ByStream[projectRenamed], func(e projectRenamed, _ Rec) map[string]any {
			return map[string]any{"project_name": e.Name}
		}),
		Update(m.projects, ByStream[projectMoved], func(row *projectRow, e projectMoved, _ Rec) { row.Org = e.Org }),
		SetWhere(m.tasks, "project_id", ByStream[projectMoved], func(e projectMoved, _ Rec) map[string]any {
			return map[string]any{"org_id": e.Org, "status": "moved"}
		}),
		Delete(m.projects, ByStream[projectDeleted]),
		DeleteWhere(m.tasks, "project_id", ByStream[projectDeleted]),
	}
}

func (m *model) taskHandlers() Part {
	return Parts{
		Put(m.tasks, func(e taskCreated, rec Rec) taskRow {
			row := taskRow{ID: rec.StreamID(), ProjectID: &e.Project, Name: e.Name, Status: "new", Due: e.Due, Tags: e.Tags,
				Watchers: []uuid.UUID{rec.Meta.Actor}, Details: details{Words: map[string]int{e.Name: 1}}, Score: 0.5, stamp: stampOf(rec)}
			if p, found := Get(rec, m.projects, e.Project); found {
				row.ProjectName, row.OrgID = &p.Name, &p.Org
			}
			return row
		}, Prefetch(m.projects, func(e taskCreated, _ Rec) []uuid.UUID { return []uuid.UUID{e.Project} })),
		Update(m.tasks, ByStream[taskRenamed], func(row *taskRow, e taskRenamed, rec Rec) {
			row.Name, row.Revision = e.Name, int64(rec.Revision)
			row.Changes++
			row.Details.Words[e.Name]++
			row.Raw = json.RawMessage(`{"renamed": true}`)
		}),
		Update(m.tasks, ByStream[taskTouched], func(*taskRow, taskTouched, Rec) {}),
		Update(m.tasks, ByStream[taskTagged], func(row *taskRow, e taskTagged, _ Rec) {
			row.Tags = append(row.Tags, e.Tag)
			row.Tags[0] = "first"
			row.Watchers = nil
		}),
		Update(m.tasks, ByStream[taskMoved], func(row *taskRow, e taskMoved, rec Rec) {
			row.ProjectID, row.ProjectName, row.OrgID = &e.Project, nil, nil
			if p, found := Get(rec, m.projects, e.Project); found {
				row.ProjectName, row.OrgID = &p.Name, &p.Org
			}
		}),
		Delete(m.tasks, ByStream[taskDeleted]),
		UpdateEach(m.tasks, func(e tasksClosed, _ Rec) []uuid.UUID { return e.Tasks }, func(row *taskRow, _ tasksClosed, _ Rec) {
			row.Done, row.Status = true, "closed"
		}),
		DeleteEach(m.tasks, func(e tasksRemoved, _ Rec) []uuid.UUID { return e.Tasks }),
	}
}

func (m *model) labelHandlers() Part {
	return Parts{
		PutEach(m.labels, func(e labelled, rec Rec) []labelRow {
			var rows []labelRow
			for _, l := range e.Labels {
				rows = append(rows, labelRow{rec.StreamID(), l})
			}
			return rows
		}),
		Delete(m.labels, func(e unlabelled, rec Rec) labelKey { return labelKey{rec.StreamID(), e.Label} }),
		DeleteWhere(m.labels, "task_id", ByStream[taskDeleted]),
		Update(m.projects, func(poisoned, Rec) uuid.UUID { return rootProject }, func(row *projectRow, e poisoned, _ Rec) {
			switch e.How {
			case "panic":
				panic("poison")
			case "data": // longer than an index entry can be, and not compressible
				row.Name = incompressible
			}
		}),
	}
}

func (m *model) orgHandlers() Part {
	// paths lists the closure rows that connect everything above parent, and
	// parent itself, with everything below the moved organization.
	paths := func(rec Rec, parent uuid.UUID) []closureRow {
		var rows []closureRow
		for _, up := range Where(rec, m.closure, "below", parent) {
			for _, down := range Where(rec, m.closure, "above", rec.StreamID()) {
				rows = append(rows, closureRow{up.Above, down.Below, up.Depth + down.Depth + 1})
			}
		}
		return rows
	}
	return Parts{
		PutEach(m.closure, func(e orgCreated, rec Rec) []closureRow {
			rows := []closureRow{{rec.StreamID(), rec.StreamID(), 0}}
			if e.Parent != nil {
				for _, up := range Where(rec, m.closure, "below", *e.Parent) {
					rows = append(rows, closureRow{up.Above, rec.StreamID(), up.Depth + 1})
				}
			}
			return rows
		}),
		DeleteEach(m.closure, func(_ orgMoved, rec Rec) [][2]uuid.UUID {
			var keys [][2]uuid.UUID
			below := Where(rec, m.closure, "above", rec.StreamID())
			inside := map[uuid.UUID]bool{}
			for _, d := range below {
				inside[d.Below] = true
			}
			for _, up := range Where(rec, m.closure, "below", rec.StreamID()) {
				for _, d := range below {
					if !inside[up.Above] {
						keys = append(keys, [2]uuid.UUID{up.Above, d.Below})
					}
				}
			}
			return keys
		}),
		PutEach(m.closure, func(e orgMoved, rec Rec) []closureRow { return paths(rec, e.Parent) }),
	}
}

var rootProject = domain.WellKnownID(1)

// incompressible is 4,000 bytes that do not fit an index page when compressed.
var incompressible = func() string {
	var s []byte
	x := uint32(1)
	for range 4000 {
		x = x*1664525 + 1013904223
		s = append(s, "abcdefghijklmnopqrstuvwxyz0123456789"[x>>16%36%36])
	}
	return string(s)
}()
