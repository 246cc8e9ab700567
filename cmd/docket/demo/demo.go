// Package demo fills a running server with a realistic data set, through its
// public APIs alone.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"docket/cmd/docket/client"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// Sizes are how many things there shall be.
type Sizes struct {
	Organizations, Groups, Users, Projects, Tasks int
}

// Check refuses sizes that do not fit together.
func (s Sizes) Check() error {
	if s.Organizations < 1 || s.Groups < 0 || s.Users < 0 || s.Projects < 0 || s.Tasks < 0 {
		return errors.New("there must be at least one organization, and nothing less than none")
	}
	if s.Tasks > 0 && s.Projects == 0 {
		return errors.New("tasks need projects")
	}
	return nil
}

// Stage is the making of one kind of thing.
type Stage struct {
	Name        string
	Done, Total int
	Made        int // of Done; the others were there before
	Took        time.Duration
}

// Filler makes things that are not there yet. What it makes depends on nothing
// but the number of each thing, so that it can be run again, also with other
// sizes.
type Filler struct {
	API         *client.Client
	Sizes       Sizes
	Concurrency int
	// Progress is told whenever something is done; calls don't overlap.
	Progress func(Stage)

	run           string // names the requests of this run
	roles         map[string]string
	organizations []string
	groups        []string // their ids, by number
	users         []string
	projects      []string
	tasks         []string
}

// Example are ids to look at.
type Example struct{ Organization, Group, User, Project, Task string }

// Run fills the server. It can be interrupted and run again.
func (f *Filler) Run(ctx context.Context) (Example, error) {
	f.run = uuid.NewString()
	for _, step := range []func(context.Context) error{
		f.findRoles, f.makeOrganizations, f.makeGroups, f.makeUsers, f.makeProjects, f.makeTasks, f.addRecipients, f.activateTasks,
	} {
		if err := step(ctx); err != nil {
			return Example{}, err
		}
	}
	return Example{first(f.organizations), first(f.groups), first(f.users), first(f.projects), first(f.tasks)}, nil
}

func first(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// thing is what lists say of everything.
type thing struct {
	ID           string              `json:"id"`
	Name         string              `json:"name"`
	Email        string              `json:"email"`
	Organization struct{ ID string } `json:"organization"`
	Project      struct{ ID string } `json:"project"`
}

// existing maps the things of a list to their ids, by a key.
func (f *Filler) existing(ctx context.Context, path string, key func(thing) string) (map[string]string, error) {
	var list struct{ Data []thing }
	if err := f.API.Do(ctx, client.Request{Method: http.MethodGet, Path: "/api/v2" + path + "?get_all=true"}, &list); err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(list.Data))
	for _, t := range list.Data {
		ids[key(t)] = t.ID
	}
	return ids, nil
}

// stage runs total steps, some at a time. do tells whether it made something.
func (f *Filler) stage(ctx context.Context, name string, total int, do func(ctx context.Context, n int) (bool, error)) error {
	stage, start := Stage{Name: name, Total: total}, time.Now()
	var mu sync.Mutex
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(f.Concurrency)
	for n := range total {
		if running.Err() != nil {
			break
		}
		group.Go(func() error {
			made, err := do(running, n)
			if err != nil {
				return fmt.Errorf("%s, number %d: %w", name, n+1, err)
			}
			mu.Lock()
			defer mu.Unlock()
			stage.Done++
			if made {
				stage.Made++
			}
			stage.Took = time.Since(start)
			f.Progress(stage)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// post makes one thing. A server that is busy or away for a moment is asked
// again, as the same request, so that nothing is made twice.
func (f *Filler) post(ctx context.Context, path string, body any) (string, error) {
	request := client.Request{Method: http.MethodPost, Path: path, Body: body, Key: f.run + "/" + uuid.NewString()}
	var made struct {
		ID   string
		Data struct{ ID string }
	}
	err := retry(ctx, func() error { return f.API.Do(ctx, request, &made) })
	return made.ID + made.Data.ID, err
}

// patience is how often a request is sent in all.
const patience = 6

func retry(ctx context.Context, do func() error) error {
	wait := 200 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := do()
		var refused *client.Refused
		var away *client.Unreachable
		switch {
		case err == nil || attempt == patience:
			return err
		case errors.As(err, &refused) && (refused.Status == http.StatusServiceUnavailable || refused.Status == http.StatusTooManyRequests):
			wait = max(wait, refused.After)
		case errors.As(err, &away):
		default:
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		wait *= 2
	}
}

// make makes the things of one kind that are not there yet and returns the ids
// of all, by number.
func (f *Filler) make(ctx context.Context, kind string, total int, there map[string]string, path string, describe func(n int) (key string, body object)) ([]string, error) {
	ids := make([]string, total)
	err := f.stage(ctx, kind, total, func(ctx context.Context, n int) (bool, error) {
		key, body := describe(n)
		if id, ok := there[key]; ok {
			ids[n] = id
			return false, nil
		}
		var err error
		ids[n], err = f.post(ctx, path, body)
		return true, err
	})
	return ids, err
}

type object = map[string]any

func ref(id string) object { return object{"id": id} }

// key joins what a thing is known by. Names compare without case.
func key(parts ...string) string { return strings.ToLower(strings.Join(parts, "\x00")) }
