// Package postgres is the plumbing between Docket and PostgreSQL.
//
// [Start] runs a private server as a child process when the operator names
// none: it finds installed binaries or fetches pinned ones, creates the data
// folder, listens on a Unix socket only, brings the server back when it dies
// and takes it down with the process. [Connect] opens the connection pools
// that the rest of the program uses, whoever runs the server, and
// [IsUnavailable] tells an absent server from a failed statement. [Migrate]
// creates the tables that are not read models.
//
// The private server runs on Linux and macOS.
package postgres
