package main

import (
	"strings"

	"flask-on-fargate/internal/plaintext"
)

const (
	// maxMessage is the length of a job's failure message in characters. CodePipeline takes 5,000, but shows them in a small box:
	// https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_FailureDetails.html
	maxMessage = 1000

	// maxDetail bounds each text that ECS contributes.
	maxDetail = 200

	// maxSubject is the length of a notification's subject: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
	maxSubject = 100
)

// short shows a value of unknown length and content.
func short(text string) string { return plaintext.Cut(plaintext.OneLine(text), maxDetail) }

// subject is text as SNS takes it: printable ASCII, at most maxSubject characters.
func subject(text string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, plaintext.OneLine(text))
	return ascii[:min(len(ascii), maxSubject)]
}

// lastPart is the id at the end of an ARN.
func lastPart(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
