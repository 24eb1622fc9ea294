# The same repository, bucket and roles for teams that use Terraform: it hands ../template.yaml to CloudFormation, so there
# is one list of rights, and the tests that prove it hold here too.
#
#   module "trainer" {
#     source            = "git::https://github.com/OWNER/NAME.git//infrastructure/terraform"
#     github_repository = "OWNER/NAME"
#   }
#
# The variables are the template's parameters; docs/account.md explains each. The outputs are the template's, too.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "stack" {
  description = "Name of the CloudFormation stack"
  type        = string
  default     = "star-rating"
}

variable "repository_name" {
  description = "ECR repository of the training image"
  type        = string
  default     = "distilbert-trainer"
}

variable "production_repository_name" {
  description = "ECR repository that scripts/promote.sh copies tested images to; empty makes none"
  type        = string
  default     = ""
}

variable "bucket_name" {
  description = "Bucket of channels, checkpoints and models; empty is distilbert-trainer-ACCOUNT-REGION"
  type        = string
  default     = ""
}

variable "prefix" {
  description = "First folder of every key in the bucket, as in the job file"
  type        = string
  default     = "star-rating"
}

variable "kms_key_arn" {
  description = "Key of the repository, the bucket and the jobs' volumes; empty is each service's own encryption"
  type        = string
  default     = ""
}

variable "checkpoint_expiry_days" {
  description = "Days after which S3 deletes a checkpoint"
  type        = number
  default     = 30
}

variable "log_retention_days" {
  description = "Days that CloudWatch keeps the jobs' logs"
  type        = number
  default     = 90
}

variable "make_log_groups" {
  description = "false, if the account has run SageMaker jobs before; their log groups exist then"
  type        = bool
  default     = true
}

variable "launcher_principal" {
  description = "Who may assume the launcher's role; empty is whom the account's own policies allow it to"
  type        = string
  default     = ""
}

variable "github_repository" {
  description = "OWNER/NAME whose workflow publishes the image; empty makes no publisher's role"
  type        = string
  default     = ""
}

variable "github_branch" {
  description = "Its branch; no other branch, tag or pull request can publish"
  type        = string
  default     = "main"
}

variable "github_oidc_provider_arn" {
  description = "The account's OIDC provider of GitHub, of which there can be only one; empty makes it"
  type        = string
  default     = ""
}

resource "aws_cloudformation_stack" "trainer" {
  name          = var.stack
  template_body = file("${path.module}/../template.yaml")
  capabilities  = ["CAPABILITY_IAM"]

  parameters = {
    RepositoryName           = var.repository_name
    ProductionRepositoryName = var.production_repository_name
    BucketName               = var.bucket_name
    Prefix                   = var.prefix
    KmsKeyArn                = var.kms_key_arn
    CheckpointExpiryDays     = var.checkpoint_expiry_days
    LogRetentionDays         = var.log_retention_days
    MakeLogGroups            = var.make_log_groups
    LauncherPrincipal        = var.launcher_principal
    GitHubRepository         = var.github_repository
    GitHubBranch             = var.github_branch
    GitHubOidcProviderArn    = var.github_oidc_provider_arn
  }
}

output "stack" {
  description = "The template's outputs: Role, Bucket, Repository, ..."
  value       = aws_cloudformation_stack.trainer.outputs
}
