package safeq

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/safeq"
)

const (
	maxImport  = 32 << 20 // bytes of the file
	maxRows    = 100_000
	importTime = 30 * time.Minute
	maxRefused = 100 // rows that one answer names
)

type importIn struct {
	Body struct {
		Group     string  `json:"group" minLength:"1" doc:"The local group that all users of the file are put into. Members of it who are not in the file are deactivated."`
		Mapping   string  `json:"mapping" minLength:"1" doc:"Which column holds what: userName:0,firstName:1,lastName:2,email:3,group:4. Columns count from 0; only userName is needed."`
		Separator *string `json:"separator,omitempty" doc:"A comma when absent."`
		HasHeader bool    `json:"hasheader,omitempty"`
		Async     bool    `json:"async,omitempty" doc:"Answer as soon as the file was found to be right."`
	}
}

func registerImport(w *writes) {
	needs := safeq.Needs{Rights: []string{"CreateUser", "ModifyUser"}, Advanced: true, Gives: append(append([]string{}, ordinary...), "users.view", "groups.view"), Code: safeq.CodeImportUsers}
	op := httpx.Op{ID: "26", Method: post, Path: safeq.Base + "/users/import", Summary: "Import users from CSV", Tags: []string{"Users"}, MaxBody: maxImport + aroundFile, Timeout: importTime,
		Description: "A file with a mistake in it changes nothing; the answer names the rows."}
	httpx.RegisterUpload(w.API, safeq.Op(op, needs), httpx.File[[]byte]{Name: "data", Take: func(_ context.Context, _ string, content io.Reader) ([]byte, error) {
		data, err := io.ReadAll(io.LimitReader(content, maxImport+1))
		if err == nil && len(data) > maxImport {
			err = fault.New(fault.TooLarge, "import.too-large", "the file is larger than %d bytes", maxImport).On("data", "is larger than %d bytes", maxImport)
		}
		return data, err
	}}, w.importUsers)
}

func (w *writes) importUsers(ctx context.Context, in *importIn, data []byte) (*codeAnswer, error) {
	columns, err := parseMapping(in.Body.Mapping)
	if err != nil {
		return nil, err
	}
	separator, err := parseSeparator(in.Body.Separator)
	if err != nil {
		return nil, err
	}
	rows, err := readRows(data, columns, separator, in.Body.HasHeader)
	if err != nil {
		return nil, err
	}
	group, err := w.importGroup(ctx, in.Body.Group)
	if err != nil {
		return coded(safeq.CodeImportUsers, err)
	}
	plan, err := w.plan(ctx, *group, rows)
	if err != nil {
		return coded(safeq.CodeImportUsers, err)
	}
	if !in.Body.Async {
		return coded(safeq.CodeImportUsers, plan.run(ctx, w))
	}
	w.later(ctx, plan)
	return &codeAnswer{}, nil
}

func (w *writes) importGroup(ctx context.Context, name string) (*safeq.Group, error) {
	group, err := w.Reads.FindGroup(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case group == nil:
		return nil, safeq.NoSuchGroup(name)
	case group.Source != "":
		return nil, fault.New(fault.Conflict, "group.foreign", "the group %.100q comes from a user directory", name)
	}
	return group, nil
}

// later runs an import after its request was answered, as the same actor.
func (w *writes) later(ctx context.Context, plan *plan) {
	actor, _ := domain.ActorOf(ctx)
	asked := commands.RequestOf(ctx)
	request := commands.NewRequest(asked.Dialect, asked.Now)
	request.Correlation, request.Causation, request.Traceparent = asked.ID, asked.ID, asked.Traceparent
	w.Background(func(ctx context.Context) {
		err := plan.run(commands.WithRequest(domain.WithActor(ctx, actor), request), w)
		if err != nil {
			// What the fault says may name people.
			w.Logger.Error("an import of users ended early; sending it again finishes it", "correlation", asked.ID, "code", fault.Of(err).Code)
			return
		}
		w.Logger.LogAttrs(ctx, slog.LevelInfo, "users were imported", slog.Any("correlation", asked.ID), slog.Int("rows", len(plan.steps)))
	})
}

// step is what has to be done about one user.
type step struct {
	row  int // of the file; 0 for who is not in it
	cmds []commands.Command[directory.User]
}

// plan is an import that was checked as a whole.
type plan struct{ steps []step }

// run does what was planned. Something that changed since can still stop it half
// way; sending the file again finishes it.
func (p *plan) run(ctx context.Context, w *writes) error {
	_, err := commands.Together(ctx, w.Bus, func(ctx context.Context) error {
		for _, s := range p.steps {
			for _, cmd := range s.cmds {
				if err := sent(ctx, w, cmd); err != nil {
					return s.about(err)
				}
			}
		}
		return nil
	})
	return err
}

// about says which row a fault is about.
func (s step) about(err error) error {
	f := fault.Of(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		return err
	}
	where := fmt.Sprintf("row %d", s.row)
	if s.row == 0 {
		where = "deactivating who is not in the file"
	}
	return fault.New(f.Kind, f.Code, "%s: %s", where, safeq.Message(f)).On("data", "%s: %s", where, safeq.Message(f))
}

// plan works out what an import changes and checks all of it.
func (w *writes) plan(ctx context.Context, group safeq.Group, rows []row) (*plan, error) {
	p := &planning{writes: w, group: group, account: safeq.CallerOf(ctx).Account.ID, groups: map[string]*safeq.Group{}}
	if err := p.lookUp(ctx, rows); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := p.add(ctx, r); err != nil {
			return nil, err
		}
	}
	if err := p.others(ctx, rows); err != nil {
		return nil, err
	}
	for _, s := range p.steps {
		for _, cmd := range s.cmds {
			if err := commands.Check(ctx, w.Bus, cmd); err != nil {
				f := fault.Of(err)
				if f.Kind == fault.Internal || f.Kind == fault.Unavailable || f.Kind == fault.Denied {
					return nil, err
				}
				p.refuse(s.row, "%s", safeq.Message(fault.Of(renamed(err, nil))))
				break
			}
		}
	}
	return &p.plan, p.refused.Err()
}

// planning is a plan in the making.
type planning struct {
	*writes
	plan
	group   safeq.Group
	account domain.ID
	byName  map[string]safeq.Member // users there are, by their user names
	byEmail map[string]safeq.Member
	groups  map[string]*safeq.Group // that rows name, nil for none

	refused fault.Problems
	count   int
}

func (p *planning) refuse(row int, format string, args ...any) {
	if p.count++; p.count <= maxRefused {
		where := fmt.Sprintf("row %d: ", row)
		if row == 0 {
			where = "deactivating who is not in the file: "
		}
		p.refused.Add("data", "%s", where+fmt.Sprintf(format, args...))
	}
}

// lookUp finds everybody who has a name or mail address of the file.
func (p *planning) lookUp(ctx context.Context, rows []row) error {
	var names, mails []string
	for _, r := range rows {
		names = append(names, r.userName)
		if text(r.email) != "" {
			mails = append(mails, *r.email)
		}
	}
	byName, err := p.Reads.Taken(ctx, "userName", names)
	if err != nil {
		return err
	}
	byEmail, err := p.Reads.Taken(ctx, "email", mails)
	if err != nil {
		return err
	}
	p.byName, p.byEmail = map[string]safeq.Member{}, map[string]safeq.Member{}
	for _, m := range byName {
		p.byName[domain.Normal(m.UserName)] = m
	}
	for _, m := range byEmail {
		p.byEmail[domain.Normal(m.Email)] = m
	}
	return nil
}

// add plans for a row: a new user, or what differs of one who is there.
func (p *planning) add(ctx context.Context, r row) error {
	groups := []domain.ID{p.group.ID}
	if r.group != "" {
		g, known := p.groups[r.group]
		if !known {
			var err error
			if g, err = p.Reads.FindGroup(ctx, r.group); err != nil {
				return err
			}
			p.groups[r.group] = g
		}
		switch {
		case g == nil:
			p.refuse(r.number, "there is no group %.100q", r.group)
			return nil
		case g.Source != "":
			p.refuse(r.number, "the group %.100q comes from a user directory", r.group)
			return nil
		case g.ID != p.group.ID:
			groups = append(groups, g.ID)
		}
	}
	was, exists := p.byName[domain.Normal(r.userName)]
	if other, taken := p.byEmail[domain.Normal(text(r.email))]; taken && text(r.email) != "" && other.ID != was.ID {
		p.refuse(r.number, "the mail address is taken")
		return nil
	}
	if !exists {
		p.steps = append(p.steps, step{r.number, []commands.Command[directory.User]{commanded.CreateUser{ID: commands.NewID(ctx), Person: r.person(), Active: true,
			Roles: []domain.ID{directory.UsersID}, Membership: commanded.Membership{Organizations: []domain.ID{p.account}, Groups: groups}}}})
		return nil
	}
	if was.Source != "" {
		p.refuse(r.number, "the user comes from a user directory")
		return nil
	}
	user, _, err := commands.Load[directory.User](ctx, p.Bus, directory.UserStream(was.ID))
	if err != nil {
		return err
	}
	actor, _ := domain.ActorOf(ctx)
	if !user.Exists() || user.Kind != directory.KindUser || !actor.SeesAny(user.InOrgs) {
		p.refuse(r.number, "the user name is taken")
		return nil
	}
	active := true
	p.steps = append(p.steps, step{r.number, []commands.Command[directory.User]{
		commanded.UpdateUser{ID: was.ID, Person: r.changed(user), Active: &active}, commanded.JoinGroups{UserID: was.ID, Groups: groups}}})
	return nil
}

// others plans to deactivate members of the group who are not in the file.
func (p *planning) others(ctx context.Context, rows []row) error {
	listed := make(map[string]bool, len(rows))
	for _, r := range rows {
		listed[domain.Normal(r.userName)] = true
	}
	members, err := p.Reads.MembersOf(ctx, p.group.ID)
	if err != nil {
		return err
	}
	inactive := false
	for _, m := range members {
		if listed[domain.Normal(m.UserName)] || !m.Active || m.Source != "" {
			continue
		}
		user, _, err := commands.Load[directory.User](ctx, p.Bus, directory.UserStream(m.ID))
		if err != nil {
			return err
		}
		p.steps = append(p.steps, step{0, []commands.Command[directory.User]{commanded.UpdateUser{ID: m.ID, Person: commanded.PersonOf(user), Active: &inactive}}})
	}
	return nil
}
