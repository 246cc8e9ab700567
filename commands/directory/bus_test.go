package directory

import (
	"context"
	"slices"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
	"docket/eventstore"
	"docket/eventstore/memory"
	"github.com/stretchr/testify/require"
)

// world is a bootstrapped installation over a store in memory.
type world struct {
	bus   *commands.Bus
	store *memory.Store
}

func newWorld(t require.TestingT) world {
	store := memory.New()
	b := commands.NewBus(commands.Config{Store: store, Codec: eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events(), reporting.Events())...),
		Digest: func(purpose, value string) string { return purpose + value }, Wait: time.Second})
	Register(b)
	commands.Register[reporting.Project](b, "project")
	w := world{b, store}
	require.NoError(t, Bootstrap(w.ctx(domain.Actor{}), b, []byte("key")))
	return w
}

func (w world) ctx(actor domain.Actor) context.Context {
	return domain.WithActor(commands.WithRequest(context.Background(), commands.NewRequest("test", spec.Now)), actor)
}

func send[S domain.State[S]](w world, actor domain.Actor, cmd commands.Command[S]) error {
	_, err := commands.Send(w.ctx(actor), w.bus, cmd)
	return err
}

var root = domain.System(directory.GlobalID)

func TestThroughTheBus(t *testing.T) {
	w := newWorld(t)
	inSales := func(name string) OrganizationDetails { return OrganizationDetails{DisplayName: name} }
	require.NoError(t, send(w, root, CreateOrganization{ID: sales, Details: inSales("Sales")}))
	require.NoError(t, send(w, root, CreateRole{ID: reader, OrganizationID: sales, Details: Details{Name: "Reader"}, Rights: Rights{Permissions: []string{"tasks.view"}, AllProjects: true}}))

	// The clerk sees Sales only, and makes an organization that nobody sees yet.
	require.NoError(t, send(w, clerk, CreateOrganization{ID: lab, Details: inSales("Lab")}))
	made, _, err := commands.Load[directory.Organization](w.ctx(clerk), w.bus, directory.OrganizationStream(lab))
	require.NoError(t, err)
	require.Equal(t, ids(directory.GlobalID, sales), made.Ancestors)
	require.True(t, fault.Is(send(w, clerk, UpdateOrganization{lab, inSales("Mine")}), fault.NotFound))

	require.NoError(t, send(w, clerk, CreateGroup{ID: staff, Details: Details{Name: "Staff"}, Roles: ids(reader)}))
	require.NoError(t, send(w, clerk, CreateGroup{ID: chief, Details: Details{Name: "staff"}}), "case counts in group names")
	taken := send(w, clerk, CreateGroup{ID: labGroup, Details: Details{Name: " Staff "}})
	require.True(t, fault.Is(taken, fault.Unique))
	require.Equal(t, "name", fault.Of(taken).Fields[0].Path)

	in := Membership{ids(sales), ids(staff)}
	require.NoError(t, send(w, clerk, CreateUser{ID: ann, Person: annIs(), Roles: ids(reader), Membership: in}))
	taken = send(w, clerk, CreateRecipient{ID: bob, Person: with(annIs(), func(p *Person) { p.Email = "ANN@example.com" }), Membership: in})
	require.True(t, fault.Is(taken, fault.Unique))
	require.Equal(t, "email", fault.Of(taken).Fields[0].Path)
	require.NoError(t, send(w, clerk, LeaveGroup{ann, staff}))
	require.NoError(t, send(w, clerk, JoinGroup{ann, chief}))
	u, _, err := commands.Load[directory.User](w.ctx(clerk), w.bus, directory.UserStream(ann))
	require.NoError(t, err)
	require.Equal(t, ids(chief), u.Groups)
	require.Positive(t, u.Number)
}
